package rig

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"ampoule/tools/xenrig/wire"
)

// ExitError says that a command in dom0 ended with another status than 0.
type ExitError struct {
	Command string
	Code    int    // 128 and more: the signal that ended it
	Output  string // what it printed
}

func (e *ExitError) Error() string {
	return fmt.Sprintf("%s: exit status %d: %s", e.Command, e.Code, bytes.TrimSpace([]byte(e.Output)))
}

// order is one under way: a connection to the agent.
type order struct {
	conn net.Conn
	in   *wire.Reader
	stop func() bool // ends the watch on the context
	ctx  context.Context
}

// begin gives an order. The connection is closed when ctx ends.
func (r *Rig) begin(ctx context.Context, req wire.Request) (*order, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", r.agent)
	if err != nil {
		return nil, err
	}
	o := &order{conn: c, in: wire.NewReader(bufio.NewReaderSize(c, 64<<10)), ctx: ctx}
	o.stop = context.AfterFunc(ctx, func() { c.Close() })
	if err := wire.WriteJSON(c, wire.Order, req); err != nil {
		o.end()
		return nil, o.cause(err)
	}
	return o, nil
}

func (o *order) end() {
	o.stop()
	o.conn.Close()
}

// cause is the context's error where that is what closed the connection.
func (o *order) cause(err error) error {
	if cerr := context.Cause(o.ctx); cerr != nil {
		return cerr
	}
	if err == io.EOF {
		return errors.New("the agent has closed the connection")
	}
	return err
}

// wait passes data on until the order ends.
func (o *order) wait(data func([]byte)) (wire.Outcome, error) {
	var out wire.Outcome
	for {
		k, body, err := o.in.Next()
		if err != nil {
			return out, o.cause(err)
		}
		switch k {
		case wire.Data:
			data(body)
		case wire.End:
			if err := json.Unmarshal(body, &out); err != nil {
				return out, err
			}
			if out.Error != "" {
				return out, errors.New(out.Error)
			}
			return out, nil
		default:
			return out, fmt.Errorf("a frame %q from the agent", k)
		}
	}
}

// Run runs a script in dom0's shell and returns what it prints, errors too, of
// which it keeps the first and last half of OutputLimit. After the time-out the
// command and its children are killed. A status other than 0 is an *ExitError;
// other errors hold the end of Xen's console.
func (r *Rig) Run(ctx context.Context, timeout time.Duration, script string) (string, error) {
	return r.Exec(ctx, timeout, "sh", "-c", script)
}

// Exec is Run for a program and its arguments.
func (r *Rig) Exec(ctx context.Context, timeout time.Duration, command ...string) (string, error) {
	var out ends
	err := r.Stream(ctx, timeout, out.write, command...)
	if exit := (*ExitError)(nil); errors.As(err, &exit) {
		exit.Output = out.String()
		return exit.Output, exit
	}
	return out.String(), err
}

// Stream is Exec that hands the output to data as it comes. A time-out of 0
// leaves all to ctx.
func (r *Rig) Stream(ctx context.Context, timeout time.Duration, data func([]byte), command ...string) error {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	name := fmt.Sprintf("%q in dom0", command)
	o, err := r.begin(ctx, wire.Request{Op: wire.OpRun, Command: command})
	if err != nil {
		return r.Explain(fmt.Errorf("%s: %w", name, err))
	}
	defer o.end()
	res, err := o.wait(data)
	if err != nil {
		return r.Explain(fmt.Errorf("%s: %w", name, err))
	}
	if res.Code != 0 {
		return &ExitError{Command: name, Code: res.Code}
	}
	return nil
}

// Push copies the file at path here to name in dom0.
func (r *Rig) Push(ctx context.Context, path, name string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("rig: push: %w", err)
	}
	defer f.Close()
	return r.Put(ctx, name, f)
}

// Put writes what it reads to the file name in dom0, which appears whole or not
// at all.
func (r *Rig) Put(ctx context.Context, name string, from io.Reader) error {
	err := r.put(ctx, name, from)
	if err != nil {
		return r.Explain(fmt.Errorf("put %s: %w", name, err))
	}
	return nil
}

func (r *Rig) put(ctx context.Context, name string, from io.Reader) error {
	o, err := r.begin(ctx, wire.Request{Op: wire.OpPut, Path: name, Mode: 0o755})
	if err != nil {
		return err
	}
	defer o.end()
	buf := make([]byte, 256<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if werr := wire.Write(o.conn, wire.Data, buf[:n]); werr != nil {
				// The agent says first why it takes no more.
				_, err := o.wait(func([]byte) {})
				return errors.Join(werr, err)
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if err := wire.Write(o.conn, wire.End, nil); err != nil {
		return o.cause(err)
	}
	_, err = o.wait(func([]byte) {})
	return err
}

// Get reads up to limit bytes of a file in dom0 from offset on, which counts
// from the end when it is below 0. It also returns the file's size.
func (r *Rig) Get(ctx context.Context, name string, offset, limit int64) ([]byte, int64, error) {
	o, err := r.begin(ctx, wire.Request{Op: wire.OpGet, Path: name, Offset: offset, Limit: limit})
	if err != nil {
		return nil, 0, r.Explain(fmt.Errorf("get %s: %w", name, err))
	}
	defer o.end()
	var b []byte
	res, err := o.wait(func(p []byte) { b = append(b, p...) })
	if err != nil {
		return nil, 0, r.Explain(fmt.Errorf("get %s: %w", name, err))
	}
	return b, res.Size, nil
}

// ends keeps the first and the last half of OutputLimit bytes.
type ends struct {
	head, tail []byte
	dropped    int
}

func (e *ends) write(p []byte) {
	const half = OutputLimit / 2
	n := min(len(p), half-len(e.head))
	e.head = append(e.head, p[:n]...)
	e.tail = append(e.tail, p[n:]...)
	if cut := len(e.tail) - half; cut > half { // seldom, so that it costs little
		e.trim()
	}
}

func (e *ends) trim() {
	if cut := len(e.tail) - OutputLimit/2; cut > 0 {
		e.dropped += cut
		e.tail = append([]byte(nil), e.tail[cut:]...)
	}
}

func (e *ends) String() string {
	e.trim()
	if e.dropped == 0 {
		return string(e.head) + string(e.tail)
	}
	return fmt.Sprintf("%s\n[%d bytes dropped]\n%s", e.head, e.dropped, e.tail)
}
