package h2

import (
	"encoding/binary"

	"golang.org/x/net/http2/hpack"
)

// take handles a frame. A streamError ends its stream, any other the connection.
func (x *conn) take(f *frame) error {
	if !x.greeted && (f.kind != frameSettings || f.has(flagAck)) {
		return connError{protocolError, "no settings"}
	}
	if x.head.open && (f.kind != frameContinuation || f.stream != x.head.stream) {
		return connError{protocolError, "something within a head"}
	}
	switch f.kind {
	case frameData:
		return x.data(f)
	case frameHeaders:
		return x.headers(f)
	case framePriority:
		return x.priority(f)
	case frameReset:
		return x.resetBy(f)
	case frameSettings:
		return x.settings(f)
	case framePush:
		return connError{protocolError, "a push of a client"}
	case framePing:
		return x.ping(f)
	case frameGoAway:
		return x.goAway(f)
	case frameWindow:
		return x.windowUpdate(f)
	case frameContinuation:
		return x.continuation(f)
	}
	return x.charge(1) // not known, and ignored (section 5.5)
}

// priority is a frame that is not heeded (section 5.3.2).
func (x *conn) priority(f *frame) error {
	if f.stream == 0 {
		return connError{protocolError, "a priority of no stream"}
	}
	if err := x.charge(1); err != nil {
		return err
	}
	if len(f.payload) != 5 {
		return streamError{f.stream, frameSizeError}
	}
	if binary.BigEndian.Uint32(f.payload)&mostWindow == f.stream {
		return streamError{f.stream, protocolError}
	}
	return nil
}

// settings takes the client's settings (section 6.5).
func (x *conn) settings(f *frame) error {
	switch {
	case f.stream != 0:
		return connError{protocolError, "settings of a stream"}
	case f.has(flagAck) && len(f.payload) != 0 || len(f.payload)%6 != 0:
		return connError{frameSizeError, "settings"}
	case f.has(flagAck):
		return x.charge(1)
	}
	if x.greeted {
		if err := x.charge(10 + len(f.payload)/6); err != nil {
			return err
		}
	}
	x.greeted = true
	for p := f.payload; len(p) > 0; p = p[6:] {
		if err := x.setting(binary.BigEndian.Uint16(p), binary.BigEndian.Uint32(p[2:])); err != nil {
			return err
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.out = appendHeader(x.out, frameSettings, flagAck, 0, 0)
	return nil
}

// setting takes one (section 6.5.2). Those that bound what we send besides responses, or
// the table that we do not use, or that are not known, are of no account.
func (x *conn) setting(id uint16, v uint32) error {
	switch id {
	case settingPush:
		if v > 1 {
			return connError{protocolError, "setting of push"}
		}
	case settingFrameSize:
		if v < maxFrame || v > 1<<24-1 {
			return connError{protocolError, "setting of frames"}
		}
		x.mu.Lock()
		x.largest = int(v)
		x.mu.Unlock()
	case settingWindow:
		if v > mostWindow {
			return connError{flowControlError, "setting of windows"}
		}
		return x.initialWindow(int64(v))
	}
	return nil
}

// initialWindow changes the windows of all streams (section 6.9.2). They may become
// negative.
func (x *conn) initialWindow(v int64) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	by := v - x.first
	x.first = v
	for _, st := range x.streams {
		if st.window += by; st.window > mostWindow {
			return connError{flowControlError, "setting of windows"}
		}
		x.queue(st)
	}
	return nil
}

// ping answers one (section 6.7).
func (x *conn) ping(f *frame) error {
	switch {
	case f.stream != 0:
		return connError{protocolError, "a ping of a stream"}
	case len(f.payload) != 8:
		return connError{frameSizeError, "a ping"}
	}
	if err := x.charge(1); err != nil || f.has(flagAck) {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.out = append(appendHeader(x.out, framePing, flagAck, 0, 8), f.payload...)
	return nil
}

// goAway hears that the client opens no more streams (section 6.8).
func (x *conn) goAway(f *frame) error {
	switch {
	case f.stream != 0:
		return connError{protocolError, "GOAWAY of a stream"}
	case len(f.payload) < 8:
		return connError{frameSizeError, "GOAWAY"}
	}
	x.mu.Lock()
	x.leaving = true
	x.mu.Unlock()
	return x.charge(1)
}

// windowUpdate opens a window (section 6.9).
func (x *conn) windowUpdate(f *frame) error {
	if len(f.payload) != 4 {
		return connError{frameSizeError, "an update of a window"}
	}
	by := int64(binary.BigEndian.Uint32(f.payload) & mostWindow)
	if f.stream > x.last || f.stream > 0 && f.stream%2 == 0 {
		return errIdle
	}
	if err := x.charge(1); err != nil {
		return err
	}
	if by == 0 && f.stream == 0 {
		return connError{protocolError, "an update by nothing"}
	} else if by == 0 {
		return streamError{f.stream, protocolError}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if f.stream == 0 {
		if x.window += by; x.window > mostWindow {
			return connError{flowControlError, "the window of the connection"}
		}
		return nil
	}
	st := x.streams[f.stream]
	if st == nil {
		return nil // over meanwhile
	}
	if st.window += by; st.window > mostWindow {
		return streamError{f.stream, flowControlError}
	}
	x.queue(st)
	return nil
}

// emit takes a field from the decoder.
func (x *conn) emit(f hpack.HeaderField) { x.head.field(f.Name, f.Value) }
