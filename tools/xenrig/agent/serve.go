package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"ampoule/tools/xenrig/wire"
)

// serve takes orders until ctx ends.
func serve(ctx context.Context, addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return serveOn(ctx, l)
}

func serveOn(ctx context.Context, l net.Listener) error {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		go handle(ctx, c)
	}
}

// peer is a connection from the rig. Frames may be sent from any goroutine.
type peer struct {
	conn net.Conn
	in   *wire.Reader
	mu   sync.Mutex
}

func (p *peer) send(k wire.Kind, body []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return wire.Write(p.conn, k, body)
}

// Write sends b as data, in frames that are not too long.
func (p *peer) Write(b []byte) (int, error) {
	for n := 0; n < len(b); n += wire.MaxBody {
		if err := p.send(wire.Data, b[n:min(len(b), n+wire.MaxBody)]); err != nil {
			return n, err
		}
	}
	return len(b), nil
}

func handle(ctx context.Context, c net.Conn) {
	defer c.Close()
	p := &peer{conn: c, in: wire.NewReader(bufio.NewReaderSize(c, 64<<10))}
	var out wire.Outcome
	k, body, err := p.in.Next()
	var req wire.Request
	switch {
	case err != nil:
		return
	case k != wire.Order:
		err = fmt.Errorf("a frame %q in place of an order", k)
	default:
		err = json.Unmarshal(body, &req)
	}
	if err == nil {
		err = p.obey(ctx, req, &out)
	}
	if err != nil {
		out.Error = err.Error()
	}
	if b, err := json.Marshal(out); err == nil {
		p.send(wire.End, b)
	}
}

func (p *peer) obey(ctx context.Context, req wire.Request, out *wire.Outcome) error {
	switch req.Op {
	case wire.OpRun:
		return p.run(ctx, req, out)
	case wire.OpPut:
		return p.put(req)
	case wire.OpGet:
		return p.get(req, out)
	case wire.OpDial:
		return p.dial(ctx, req)
	}
	return fmt.Errorf("unknown order %q", req.Op)
}

// run runs a command in a process group of its own, which is killed when the
// connection ends first.
func (p *peer) run(ctx context.Context, req wire.Request, out *wire.Outcome) error {
	if len(req.Command) == 0 {
		return errors.New("no command")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, req.Command[0], req.Command[1:]...)
	cmd.Stdout, cmd.Stderr = p, p
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	// A daemon that the command leaves behind may hold the output open.
	cmd.WaitDelay = 200 * time.Millisecond
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	go p.feed(stdin, cmd.Process.Pid, cancel)
	err = cmd.Wait()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		out.Code = exit.ExitCode()
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			out.Code = 128 + int(ws.Signal())
		}
		return nil
	case errors.Is(err, exec.ErrWaitDelay):
		return nil
	}
	return err
}

// feed gives a command its input and the order to stop.
func (p *peer) feed(stdin io.WriteCloser, group int, gone func()) {
	defer stdin.Close()
	for {
		k, body, err := p.in.Next()
		if err != nil {
			gone()
			return
		}
		switch k {
		case wire.Data:
			stdin.Write(body) // a command that reads no more ends by itself
		case wire.End:
			stdin.Close()
		case wire.Stop:
			syscall.Kill(-group, syscall.SIGTERM)
		}
	}
}

// put writes a file under another name first, so that nobody sees half of it.
func (p *peer) put(req wire.Request) error {
	tmp := req.Path + ".part"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, fs.FileMode(req.Mode).Perm())
	if err != nil {
		return err
	}
	defer os.Remove(tmp)
	defer f.Close()
	for {
		k, body, err := p.in.Next()
		switch {
		case err != nil:
			return err
		case k == wire.End:
			if err := f.Close(); err != nil {
				return err
			}
			return os.Rename(tmp, req.Path)
		case k != wire.Data:
			return fmt.Errorf("a frame %q within a file", k)
		}
		if _, err := f.Write(body); err != nil {
			return err
		}
	}
}

func (p *peer) get(req wire.Request, out *wire.Outcome) error {
	f, err := os.Open(req.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	out.Size = st.Size()
	off := req.Offset
	if off < 0 {
		off = max(0, st.Size()+off)
	}
	if st.Mode().IsRegular() {
		if _, err := f.Seek(off, io.SeekStart); err != nil {
			return err
		}
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{p}, io.LimitReader(f, req.Limit), make([]byte, 256<<10))
	return err
}
