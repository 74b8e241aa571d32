package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"testing"
	"testing/iotest"
)

func TestFrames(t *testing.T) {
	var b bytes.Buffer
	bodies := [][]byte{nil, []byte("x"), bytes.Repeat([]byte("ab"), MaxBody/2)}
	for _, body := range bodies {
		if err := Write(&b, Data, body); err != nil {
			t.Fatal(err)
		}
	}
	r := NewReader(iotest.HalfReader(&b))
	for _, want := range bodies {
		k, got, err := r.Next()
		if err != nil || k != Data || !bytes.Equal(got, want) {
			t.Fatalf("kind %c, %d bytes, error %v; want %d bytes", k, len(got), err, len(want))
		}
	}
	if _, _, err := r.Next(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	if err := Write(io.Discard, Data, make([]byte, MaxBody+1)); err == nil {
		t.Error("a frame beyond the limit was sent")
	}
}

// stutter gives one byte, then a time-out, and so on.
type stutter struct {
	r    io.Reader
	miss bool
}

func (s *stutter) Read(p []byte) (int, error) {
	if s.miss = !s.miss; s.miss {
		return 0, os.ErrDeadlineExceeded
	}
	return s.r.Read(p[:1])
}

func TestTimeoutsLoseNothing(t *testing.T) {
	var b bytes.Buffer
	Write(&b, Order, []byte("hello"))
	Write(&b, End, nil)
	r := NewReader(&stutter{r: &b})
	var got []string
	for range 100 {
		k, body, err := r.Next()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil {
			break
		}
		got = append(got, string(k)+string(body))
	}
	if len(got) != 2 || got[0] != "Ohello" || got[1] != "E" {
		t.Errorf("frames %q", got)
	}
}

func TestBrokenFrames(t *testing.T) {
	long := binary.BigEndian.AppendUint32([]byte{'D'}, MaxBody+1)
	for name, in := range map[string][]byte{
		"cut head": []byte("D\x00\x00"), "cut body": []byte("D\x00\x00\x00\x05abc"), "too long": long,
	} {
		if _, _, err := NewReader(bytes.NewReader(in)).Next(); err == nil || err == io.EOF {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
