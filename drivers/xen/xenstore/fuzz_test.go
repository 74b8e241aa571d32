package xenstore

import (
	"encoding/binary"
	"errors"
	"testing"

	"ampoule/drivers/xen"
	"ampoule/drivers/xen/abi"
	"ampoule/drivers/xen/xentest"
)

// deafGate is a gate whose other side does nothing.
type deafGate struct{}

func (deafGate) Notify(xen.Port)          {}
func (deafGate) Alloc() (xen.Port, error) { return 0, errors.New("none") }
func (deafGate) Close(xen.Port)           {}
func (deafGate) InUse(xen.Ref) bool       { return false }

// FuzzXenstore lets a store write anything to the page, in any pieces, between
// the client's steps. Nothing panics or loops, a message is never larger than
// its limit, only what was asked is answered, and what was out of use stays so.
func FuzzXenstore(f *testing.F) {
	answer := xentest.Message(abi.StoreRead, 1, "value")
	event := xentest.Message(abi.StoreWatchEvent, 0, "a\x001\x00")
	f.Add(append([]byte{0, 3, 1, byte(len(answer))}, append(answer, 2, 0)...))
	f.Add(append([]byte{1, byte(len(event))}, append(event, 2, 0)...))
	f.Add([]byte{0, 3, 3, 1, 4, 200, 2, 0, 5, 9, 2, 0})
	line, err := xentest.New(f, 0).Store.Line()
	if err != nil {
		f.Fatal(err)
	}
	cl := &Client{reply: make(chan reply, maxBatch), watches: map[string]*Watch{}}
	w := &Watch{c: make(chan struct{}, 1)}
	cl.watches["1"] = w
	f.Fuzz(func(t *testing.T, prog []byte) {
		c := &cl.conn
		c.gate, c.id = deafGate{}, 0
		c.reset(line)
		for len(prog) >= 2 {
			op, arg := prog[0], prog[1]
			prog = prog[2:]
			broken := c.broken != nil
			switch op % 6 {
			case 0: // ask
				if c.flush() && c.nAsked < maxBatch {
					c.begin(uint32(arg), 0, "path\x00")
					c.flush()
				}
			case 1: // the store writes
				n := min(int(arg), len(prog))
				put(line.Page, prog[:n])
				prog = prog[n:]
			case 2:
				cl.poll()
				select {
				case <-cl.reply:
				default:
				}
			case 3:
				c.abandon()
			case 4: // an index moves
				off := abi.StoreReqCons + uint32(arg%4)*4
				line.Page.Store32(off, line.Page.Load32(off)+uint32(arg)*5)
			case 5: // the store takes requests
				line.Page.Store32(abi.StoreReqCons, c.reqProd)
			}
			if c.have > len(c.in) || c.outSent > c.outLen || c.nAsked > len(c.asked) {
				t.Fatalf("have %d, sent %d of %d, asked %d", c.have, c.outSent, c.outLen, c.nAsked)
			}
			if broken && c.broken == nil {
				t.Fatal("a connection that was out of use works again")
			}
		}
	})
}

// put appends bytes to the response ring, and runs over its end.
func put(p xen.Page, b []byte) {
	prod := p.Load32(abi.StoreRspProd)
	for i, v := range b {
		p.Bytes()[abi.StoreRsp+(prod+uint32(i))%abi.StoreRing] = v
	}
	p.Store32(abi.StoreRspProd, prod+uint32(len(b)))
}

// TestMessage pins the wire form of a request.
func TestMessage(t *testing.T) {
	line, err := xentest.New(t, 0).Store.Line()
	if err != nil {
		t.Fatal(err)
	}
	c := conn{gate: deafGate{}}
	c.reset(line)
	at := c.reqProd
	if err := c.begin(abi.StoreWrite, 5, "path", "\x00", "value"); err != nil || !c.flush() {
		t.Fatal(err)
	}
	var got [26]byte
	for i := range got {
		got[i] = line.Page.Bytes()[(at+uint32(i))%abi.StoreRing]
	}
	le := binary.LittleEndian
	if le.Uint32(got[:]) != 11 || le.Uint32(got[4:]) != c.id || le.Uint32(got[8:]) != 5 || le.Uint32(got[12:]) != 10 ||
		string(got[16:]) != "path\x00value" {
		t.Errorf("request % x", got)
	}
}
