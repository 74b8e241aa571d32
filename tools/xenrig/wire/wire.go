// Package wire is what the rig and its agent in dom0 say to each other: one
// order per TCP connection, in frames of a kind, a length and a body. The rig
// sends a Request frame, then frames of data as the order needs them; the agent
// answers with Data frames and one End. Whoever closes the connection early
// ends the order.
package wire

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Port is the agent's TCP port in dom0.
const Port = 2323

// MaxBody bounds a frame.
const MaxBody = 1 << 20

// Kind is the first byte of a frame.
type Kind byte

const (
	Order Kind = 'O' // to the agent: a Request
	Data  Kind = 'D' // bytes; a datagram for a Dial over UDP
	Stop  Kind = 'S' // to the agent: end the command with SIGTERM
	End   Kind = 'E' // from the agent: an Outcome; to it: no more data
)

// Request is an order.
type Request struct {
	Op string // one of the Op constants

	Command []string // OpRun: program and arguments

	Path   string // OpPut, OpGet
	Mode   uint32 // OpPut: permissions
	Offset int64  // OpGet: where to begin; below 0: that far from the end
	Limit  int64  // OpGet: bytes at most

	Network string // OpDial: as for net.Dial
	Address string // OpDial
}

const (
	OpRun  = "run"  // run a command: Data in is its input, Data out its output and errors
	OpPut  = "put"  // write a file: Data in is its content, up to End
	OpGet  = "get"  // read a file: Data out is its content
	OpDial = "dial" // connect from dom0: an empty Data out says that it is, then Data both ways
)

// Outcome is how an order ended.
type Outcome struct {
	Error string // empty: done as ordered
	Code  int    // OpRun: exit status; 128 and more: the signal that ended it, as in a shell
	Size  int64  // OpGet: length of the file
}

// Write sends one frame in one call of w.Write.
func Write(w io.Writer, k Kind, body []byte) error {
	if len(body) > MaxBody {
		return fmt.Errorf("wire: a frame of %d bytes", len(body))
	}
	b := make([]byte, 5, 5+len(body))
	b[0] = byte(k)
	binary.BigEndian.PutUint32(b[1:], uint32(len(body)))
	_, err := w.Write(append(b, body...))
	return err
}

// WriteJSON sends v as one frame.
func WriteJSON(w io.Writer, k Kind, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return Write(w, k, b)
}

// Reader reads frames. A read that fails with a time-out can be repeated: what
// came of a frame is kept.
type Reader struct {
	r    io.Reader
	head [5]byte
	n    int // bytes of head and body that are there
	body []byte
}

// NewReader reads from r, which should be buffered.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// Next returns a frame. The body is the caller's.
func (r *Reader) Next() (Kind, []byte, error) {
	for r.n < len(r.head) {
		n, err := r.r.Read(r.head[r.n:])
		r.n += n
		if err := r.broken(n, err); err != nil {
			return 0, nil, err
		}
	}
	if r.body == nil {
		size := binary.BigEndian.Uint32(r.head[1:])
		if size > MaxBody {
			return 0, nil, fmt.Errorf("wire: a frame of %d bytes", size)
		}
		r.body = make([]byte, size)
	}
	for got := r.n - len(r.head); got < len(r.body); got = r.n - len(r.head) {
		n, err := r.r.Read(r.body[got:])
		r.n += n
		if err := r.broken(n, err); err != nil {
			return 0, nil, err
		}
	}
	k, body := Kind(r.head[0]), r.body
	r.n, r.body = 0, nil
	return k, body, nil
}

// broken says what to make of err: nothing when bytes came with it.
func (r *Reader) broken(n int, err error) error {
	switch {
	case n > 0 || err == nil:
		return nil
	case err == io.EOF && r.n > 0:
		return io.ErrUnexpectedEOF
	}
	return err
}

// LoadResult is what the agent's load command prints, in JSON.
type LoadResult struct {
	Answered int           // requests with a good answer
	Retries  int           // requests sent again because no answer came in time
	Failed   int           // requests given up or answered wrongly
	First    string        // what was wrong first
	Elapsed  time.Duration // in all
}

// StreamResult is what the agent's stream command prints.
type StreamResult struct {
	Bytes   int64         // sent, and received back with the same SHA-256
	Elapsed time.Duration // in all
}

// KeepResult is what the agent's keep command prints at its end.
type KeepResult struct {
	RoundTrips int           // messages that came back as they went
	Longest    time.Duration // the longest that one took
	Error      string        // what ended the connection; empty when it lived until the order to stop
}
