// Command pipe is the answerer of the DNS appliance without its network, for tests
// on the host: it reads queries from standard input and writes the answers to
// standard output. Its arguments are files with compiled zones.
//
// A query is one octet (0: it came over UDP, 1: over TCP), the length in two
// octets, high one first, and the message; an answer is the length and the
// message, of length 0 if there is to be none.
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"ampoule/appliances/dns/answer"
	"ampoule/libos/config/zone"
)

// page is the room for an answer in a driver's receive buffer, about.
const page = 2048

func main() {
	if err := serve(os.Stdin, os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "pipe:", err)
		os.Exit(1)
	}
}

func serve(r io.Reader, w io.Writer, files []string) error {
	var zones []zone.Zone
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		zones = append(zones, zone.Zone(b))
	}
	s, err := answer.New(zones, answer.Options{NSID: "ns1"})
	if err != nil {
		return err
	}
	in, out := bufio.NewReaderSize(r, 1<<16), bufio.NewWriterSize(w, 1<<16)
	a := answerer{server: s}
	for {
		if in.Buffered() == 0 {
			if err := out.Flush(); err != nil {
				return err
			}
		}
		var head [3]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			if err == io.EOF {
				err = nil
			}
			return err
		}
		msg := a.query[:binary.BigEndian.Uint16(head[1:])]
		if _, err := io.ReadFull(in, msg); err != nil {
			return err
		}
		b := a.answer(msg, answer.Transport(head[0]))
		binary.BigEndian.PutUint16(head[1:], uint16(len(b)))
		out.Write(head[1:]) // Flush tells of errors
		out.Write(b)
	}
}

// answerer answers as the appliance does: over UDP from what is ready, where there
// is something.
type answerer struct {
	server *answer.Server
	quick  answer.Scratch
	query  [answer.MaxMessage]byte
	page   [page]byte
	full   [answer.MaxMessage]byte
}

// answer returns the answer to msg, good until the next call.
func (a *answerer) answer(msg []byte, t answer.Transport) []byte {
	var from answer.Client
	if t == answer.UDP && len(msg) <= len(a.page) {
		n := copy(a.page[:], msg)
		if n = a.server.Quick(&a.quick, a.page[:], n, &from); n >= 0 {
			return a.page[:n]
		}
	}
	return a.full[:a.server.Answer(a.full[:], msg, t, from)]
}
