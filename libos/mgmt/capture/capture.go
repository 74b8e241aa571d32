// Package capture is the part of the management plane that captures packets: into
// a buffer of a size given at the start, until it is full or time is over. What was
// captured is read as a pcap file (draft-ietf-opsawg-pcap), with nanoseconds.
// Frames of the management plane itself are left out, since reading the capture
// would fill it.
package capture

import (
	"encoding/binary"
	"strconv"
	"sync"
	"time"

	"ampoule/libos/mgmt"
	"ampoule/libos/mgmt/plane"
)

// Part is a mgmt.Part.
type Part struct{}

// Bounds of a capture, and what holds if nothing is said.
const (
	maxBytes, defaultBytes     = 1 << 20, 256 << 10
	maxSnap, defaultSnap       = 65535, 256
	maxSeconds, defaultSeconds = 600, 60
)

// Routes implements mgmt.Part.
func (Part) Routes(h *plane.Host) []mgmt.Route {
	c := &capture{host: h}
	return []mgmt.Route{
		{Method: "POST", Path: "/v1/capture", Role: mgmt.Operate, Handle: c.start},
		{Method: "GET", Path: "/v1/capture", Role: mgmt.Operate, Handle: c.read},
		{Method: "DELETE", Path: "/v1/capture", Role: mgmt.Operate, Handle: c.end},
	}
}

// capture is the one that there is at a time.
type capture struct {
	host *plane.Host

	mu   sync.Mutex // guards what follows
	buf  []byte     // a pcap file so far; nil: there is none
	room int        // that buf may take
	snap int        // bytes of a frame that are kept
	port uint16     // the only one; 0: all
	lost uint64     // frames for which there was no room
	runs uint64     // captures begun
	stop *time.Timer
}

// start begins a capture in the place of the one before.
func (c *capture) start(call *mgmt.Call) {
	q, ok := call.Query("bytes", "snap", "seconds", "port")
	bytes, ok1 := number(q["bytes"], 4096, maxBytes, defaultBytes)
	snap, ok2 := number(q["snap"], 64, maxSnap, defaultSnap)
	seconds, ok3 := number(q["seconds"], 1, maxSeconds, defaultSeconds)
	port, ok4 := number(q["port"], 1, 65535, 0)
	if !ok || !ok1 || !ok2 || !ok3 || !ok4 {
		call.Fail(400, "bad-parameter", "Parameters are bytes (4096 to 1048576), snap (64 to 65535), seconds (1 to 600) and port.")
		return
	}
	if c.host.Frames == nil {
		call.Fail(503, "no-frames", "Frames can't be watched here.")
		return
	}
	c.begin(bytes, snap, uint16(port), time.Duration(seconds)*time.Second)
	call.Audit("capture", "started", "bytes", bytes, "snap", snap, "seconds", seconds, "port", port)
	call.Status = 201
	call.Text([]byte("started\n"))
}

// begin begins a capture.
func (c *capture) begin(bytes, snap int, port uint16, life time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop != nil {
		c.stop.Stop()
	}
	c.buf = append(make([]byte, 0, bytes), header(snap)...)
	c.room, c.snap, c.port, c.lost = bytes, snap, port, 0
	c.host.Frames.SetTap(c.frame)
	c.runs++
	run := c.runs
	c.stop = time.AfterFunc(life, func() { c.done(run) })
}

// number reads a parameter.
func number(s string, low, high, otherwise int) (int, bool) {
	if s == "" {
		return otherwise, true
	}
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= low && n <= high
}

// done ends a capture and keeps what it has, unless another one has begun: a timer
// that has fired can't be stopped.
func (c *capture) done(run uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if run == c.runs {
		c.host.Frames.SetTap(nil)
	}
}

// read answers with what was captured so far.
func (c *capture) read(call *mgmt.Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.buf == nil {
		call.Fail(404, "no-capture", "There is no capture; POST begins one.")
		return
	}
	call.Type, call.Out = "application/vnd.tcpdump.pcap", append([]byte(nil), c.buf...)
	call.Set("Ampoule-Frames-Lost", strconv.FormatUint(c.lost, 10))
}

// end ends the capture and frees it.
func (c *capture) end(call *mgmt.Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.buf == nil {
		call.Fail(404, "no-capture", "There is no capture; POST begins one.")
		return
	}
	c.stop.Stop()
	c.runs++
	c.host.Frames.SetTap(nil)
	c.buf = nil
	call.Audit("capture", "ended")
	call.Status = 204
}

// header is that of a file: magic number for nanoseconds, version 2.4, Ethernet.
func header(snap int) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 0xa1b23c4d)
	b = binary.LittleEndian.AppendUint16(b, 2)
	b = binary.LittleEndian.AppendUint16(b, 4)
	b = append(b, make([]byte, 8)...)
	b = binary.LittleEndian.AppendUint32(b, uint32(snap))
	return binary.LittleEndian.AppendUint32(b, 1)
}

// frame keeps a frame; it is the tap.
func (c *capture) frame(b []byte, size int, sent bool) {
	from, to := ports(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.buf == nil || from == c.host.Port || to == c.host.Port || c.port != 0 && from != c.port && to != c.port {
		return
	}
	kept := b[:min(len(b), c.snap)]
	if len(c.buf)+16+len(kept) > c.room {
		c.lost++
		return
	}
	now := c.host.Now()
	for _, v := range [...]uint32{uint32(now.Unix()), uint32(now.Nanosecond()), uint32(len(kept)), uint32(size)} {
		c.buf = binary.LittleEndian.AppendUint32(c.buf, v)
	}
	c.buf = append(c.buf, kept...)
}

// ports are those of a TCP or UDP packet in a frame; 0 for anything else.
func ports(b []byte) (from, to uint16) {
	if len(b) < 14+20 {
		return 0, 0
	}
	at, protocol := 14, byte(0)
	switch binary.BigEndian.Uint16(b[12:]) {
	case 0x0800:
		if binary.BigEndian.Uint16(b[20:])&0x1fff != 0 {
			return 0, 0 // a fragment that is not the first
		}
		protocol, at = b[23], at+int(b[14]&15)*4
	case 0x86dd:
		protocol, at = b[20], at+40
	}
	if protocol != 6 && protocol != 17 || at+4 > len(b) {
		return 0, 0
	}
	return binary.BigEndian.Uint16(b[at:]), binary.BigEndian.Uint16(b[at+2:])
}
