package h2

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"ampoule/libos/config/site"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// script is a connection that says what it is to say, and then ends.
type script struct {
	net.Conn
	in  bytes.Reader
	out bytes.Buffer
}

func (s *script) Read(b []byte) (int, error)       { return s.in.Read(b) }
func (s *script) Write(b []byte) (int, error)      { return s.out.Write(b) }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// FuzzServe has a client send anything behind the preface. What comes back is frames
// that a strict reader takes.
func FuzzServe(f *testing.F) {
	var b, block bytes.Buffer
	framer := http2.NewFramer(&b, nil)
	framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 3})
	coder := hpack.NewEncoder(&block)
	for _, p := range []string{"/", "/large"} {
		block.Reset()
		for _, h := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "a"}, {":path", p}, {"range", "bytes=0-1,3-"}} {
			coder.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]})
		}
		framer.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(len(p)*2 - 1), BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
	}
	framer.WriteWindowUpdate(0, 100)
	framer.WriteWindowUpdate(13, 100)
	framer.WriteRSTStream(13, http2.ErrCodeCancel)
	framer.WritePing(false, [8]byte{})
	f.Add(b.Bytes())
	table, err := site.Compile(&site.Site{Hosts: []site.Host{{Names: []string{"a"}, Resources: []site.Resource{
		{Path: "/", Status: 200, Type: "text/plain", Variants: []site.Variant{{Tag: "t", Body: "hello"}}},
		{Path: "/large", Status: 200, Type: "text/plain", Variants: []site.Variant{{Tag: "t", Body: large}}}}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s := &script{}
		s.in.Reset(append([]byte(http2.ClientPreface), data...))
		x := newConn(&server{idle: time.Hour, read: time.Hour, write: time.Hour, spawn: func(f func()) { go f() }}, s, &handler{table: table})
		x.serve()
		in := http2.NewFramer(io.Discard, &s.out)
		in.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		for {
			if _, err := in.ReadFrame(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("the server's frames: %v", err)
			}
		}
	})
}
