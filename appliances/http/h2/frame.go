package h2

import (
	"encoding/binary"

	"ampoule/libos/format"
)

// Frames (RFC 9113, section 6).
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	framePriority     = 0x2
	frameReset        = 0x3
	frameSettings     = 0x4
	framePush         = 0x5
	framePing         = 0x6
	frameGoAway       = 0x7
	frameWindow       = 0x8
	frameContinuation = 0x9
)

// Flags of frames.
const (
	flagEndStream  = 0x1
	flagAck        = 0x1 // of SETTINGS and PING
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

// Settings (section 6.5.2; RFC 9218, section 2.1).
const (
	settingPush         = 0x2
	settingStreams      = 0x3
	settingWindow       = 0x4
	settingFrameSize    = 0x5
	settingListSize     = 0x6
	settingNoPriorities = 0x9
)

// code is an error code (RFC 9113, section 7).
type code uint32

const (
	noError          code = 0x0
	protocolError    code = 0x1
	internalError    code = 0x2
	flowControlError code = 0x3
	streamClosed     code = 0x5
	frameSizeError   code = 0x6
	refusedStream    code = 0x7
	compressionError code = 0x9
	enhanceYourCalm  code = 0xb
)

const (
	frameHeader = 9
	// maxFrame is the longest payload that is taken, which is the least that a peer
	// may be told (section 6.5.2).
	maxFrame = 16384
	// firstWindow is that of streams and of the connection until told otherwise, and
	// mostWindow the largest (section 6.9).
	firstWindow = 65535
	mostWindow  = 1<<31 - 1
)

// preface is what a client begins with (section 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// frame is one that was received. payload is a part of the buffer of input.
type frame struct {
	kind, flags byte
	stream      uint32
	payload     []byte
}

func (f *frame) has(flag byte) bool { return f.flags&flag != 0 }

// errPadding says that a frame is padded with more than it has.
var errPadding = connError{protocolError, "padding longer than the frame"}

// unpad takes the padding off a payload (section 6.1).
func (f *frame) unpad() error {
	if !f.has(flagPadded) {
		return nil
	}
	p := f.payload
	if len(p) == 0 {
		return connError{frameSizeError, "no length of padding"}
	}
	if int(p[0]) > len(p)-1 {
		return errPadding
	}
	f.payload = p[1 : len(p)-int(p[0])]
	return nil
}

// connError is what ends a connection (section 5.4.1).
type connError struct {
	code code
	why  string
}

func (e connError) Error() string { return format.Sprintf("h2: error %d: %s", uint32(e.code), e.why) }

// streamError is what ends a stream (section 5.4.2).
type streamError struct {
	stream uint32
	code   code
}

func (e streamError) Error() string {
	return format.Sprintf("h2: stream %d: error %d", e.stream, uint32(e.code))
}

// appendHeader begins a frame with a payload of n octets.
func appendHeader(b []byte, kind, flags byte, stream uint32, n int) []byte {
	b = append(b, byte(n>>16), byte(n>>8), byte(n), kind, flags)
	return binary.BigEndian.AppendUint32(b, stream)
}

// appendWord is a frame whose payload is one number: RST_STREAM, WINDOW_UPDATE.
func appendWord(b []byte, kind byte, stream, word uint32) []byte {
	return binary.BigEndian.AppendUint32(appendHeader(b, kind, 0, stream, 4), word)
}

func appendSetting(b []byte, id uint16, value uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(b, id), value)
}
