package dnsdiff

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"ampoule/tools/workspace"
)

// Ours is the appliance's answerer as a process of the host.
type Ours struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// StartOurs builds it in dir and starts it with the zones. It ends with ctx or with
// Close.
func StartOurs(ctx context.Context, dir string, zones []Zone) (*Ours, error) {
	root, err := workspace.Root()
	if err != nil {
		return nil, err
	}
	bin := filepath.Join(dir, "pipe")
	build := exec.CommandContext(ctx, "go", "build", "-o", bin, "ampoule/appliances/dns/pipe")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("dnsdiff: build our answerer: %w\n%s", err, out)
	}
	o := &Ours{cmd: exec.CommandContext(ctx, bin)}
	for _, z := range zones {
		o.cmd.Args = append(o.cmd.Args, z.Table)
	}
	o.cmd.Stderr = os.Stderr
	if o.in, err = o.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := o.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	o.out = bufio.NewReaderSize(out, 1<<16)
	return o, o.cmd.Start()
}

// Ask implements Server.
func (o *Ours) Ask(questions []Question) ([][]byte, error) {
	sent := make(chan error, 1)
	go func() {
		w := bufio.NewWriterSize(o.in, 1<<15)
		for _, q := range questions {
			head := [3]byte{0, byte(len(q.Msg) >> 8), byte(len(q.Msg))}
			if q.TCP {
				head[0] = 1
			}
			w.Write(head[:]) // Flush tells of errors
			w.Write(q.Msg)
		}
		sent <- w.Flush()
	}()
	answers := make([][]byte, len(questions))
	for i := range answers {
		var head [2]byte
		if _, err := io.ReadFull(o.out, head[:]); err != nil {
			return nil, fmt.Errorf("dnsdiff: our answerer: %w", err)
		}
		if n := binary.BigEndian.Uint16(head[:]); n > 0 {
			answers[i] = make([]byte, n)
			if _, err := io.ReadFull(o.out, answers[i]); err != nil {
				return nil, fmt.Errorf("dnsdiff: our answerer: %w", err)
			}
		}
	}
	return answers, <-sent
}

// Close ends the process.
func (o *Ours) Close() error {
	o.in.Close()
	return o.cmd.Wait()
}
