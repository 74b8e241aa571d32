// Package wire reads DNS messages that came from a peer (RFC 1035 section 4):
// names with their compression, and records with the names in their data written
// out. All of it is hostile: every offset is checked, a compression pointer must
// lead backwards, and nothing is read twice.
//
// Nothing in it blocks or keeps state.
package wire

import (
	"encoding/binary"
	"errors"

	"ampoule/libos/config/zone"
)

// HeaderSize is the octets of a message's header.
const HeaderSize = 12

// MaxMessage is the longest message (RFC 1035 section 4.2.2).
const MaxMessage = 65535

// ErrMessage says that a message is malformed.
var ErrMessage = errors.New("malformed message")

// Skip returns where the name at msg[at:] ends, or -1. It does not follow
// compression pointers.
func Skip(msg []byte, at int) int {
	for at >= 0 && at < len(msg) {
		switch l := int(msg[at]); {
		case l == 0:
			return at + 1
		case l >= 0xc0:
			if at+2 > len(msg) {
				return -1
			}
			return at + 2
		case l > zone.MaxLabel:
			return -1
		default:
			at += 1 + l
		}
	}
	return -1
}

// AppendName appends the name at msg[at:], written out and in the case it has,
// and returns where it ends in msg, or -1 if it is malformed; then dst is as it
// was.
func AppendName(dst, msg []byte, at int) ([]byte, int) {
	start, end, lowest := len(dst), -1, at
	for at < len(msg) {
		l := int(msg[at])
		switch {
		case l >= 0xc0:
			if at+2 > len(msg) {
				return dst[:start], -1
			}
			if end < 0 {
				end = at + 2
			}
			at = l&0x3f<<8 | int(msg[at+1])
			if at >= lowest { // only what stands before it: no loops
				return dst[:start], -1
			}
			lowest = at
			continue
		case l > zone.MaxLabel || at+1+l > len(msg) || len(dst)-start+1+l > zone.MaxName:
			return dst[:start], -1
		}
		dst = append(dst, msg[at:at+1+l]...)
		if at += 1 + l; l == 0 {
			if end < 0 {
				end = at
			}
			return dst, end
		}
	}
	return dst[:start], -1
}

// Header is the header of a message.
type Header struct {
	ID, Flags      uint16
	QD, AN, NS, AR int
}

// Flags and the opcodes of a header (RFC 1035 section 4.1.1, RFC 1996).
const (
	FlagQR = 1 << 15
	FlagAA = 1 << 10
	FlagTC = 1 << 9

	OpcodeMask   = 15 << 11
	OpcodeQuery  = 0
	OpcodeNotify = 4 << 11
)

// ReadHeader reads a header.
func ReadHeader(msg []byte) (Header, error) {
	if len(msg) < HeaderSize {
		return Header{}, ErrMessage
	}
	be := binary.BigEndian
	return Header{be.Uint16(msg), be.Uint16(msg[2:]), int(be.Uint16(msg[4:])), int(be.Uint16(msg[6:])),
		int(be.Uint16(msg[8:])), int(be.Uint16(msg[10:]))}, nil
}

// Append writes a header.
func (h *Header) Append(b []byte) []byte {
	for _, v := range [...]uint16{h.ID, h.Flags, uint16(h.QD), uint16(h.AN), uint16(h.NS), uint16(h.AR)} {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	return b
}

// Question is a question; Name is in lower case.
type Question struct {
	Name  string
	Type  uint16
	Class uint16
}

// ReadQuestion reads the question at the start of a message's body and returns
// where it ends.
func ReadQuestion(msg []byte) (q Question, end int, err error) {
	var n zone.Name
	wire, at := AppendName(nil, msg, HeaderSize)
	if at < 0 || at+4 > len(msg) {
		return q, 0, ErrMessage
	}
	if _, err := zone.Set(&n, wire); err != nil {
		return q, 0, ErrMessage
	}
	return Question{string(n.Bytes(0)), binary.BigEndian.Uint16(msg[at:]), binary.BigEndian.Uint16(msg[at+2:])}, at + 4, nil
}

// RR is where one record stands in its message.
type RR struct {
	Start       int // of the owner's name
	Type, Class uint16
	TTL         uint32
	Data, End   int // of the data
}

// ReadRR finds the record at msg[at:].
func ReadRR(msg []byte, at int) (RR, error) {
	r := RR{Start: at}
	if at = Skip(msg, at); at < 0 || at+10 > len(msg) {
		return r, ErrMessage
	}
	be := binary.BigEndian
	r.Type, r.Class, r.TTL = be.Uint16(msg[at:]), be.Uint16(msg[at+2:]), be.Uint32(msg[at+4:])
	r.Data = at + 10
	if r.End = r.Data + int(be.Uint16(msg[at+8:])); r.End > len(msg) {
		return r, ErrMessage
	}
	return r, nil
}
