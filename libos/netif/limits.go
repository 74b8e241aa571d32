package netif

import (
	"time"

	"ampoule/libos/format"
)

// Limits bounds what peers can make the network use. All bounds are here.
// Sizes are in bytes. A zero field is refused by New: Fill sets it.
type Limits struct {
	// TCPReceive and TCPSend are the buffers of one connection. gVisor lets
	// the send buffer of a busy connection grow up to Max.
	TCPReceive, TCPSend BufferRange
	// MaxConns is the most TCP connections that exist at a time, from the end
	// of the handshake until the last state is left, TIME_WAIT included. A
	// connection beyond it is reset. Half-open ones count against Backlog.
	MaxConns int
	// Backlog is the most connections of one listener that wait for Accept,
	// and the most that are half open before SYN cookies answer instead.
	Backlog int
	// TimeWait is how long a closed connection stays known (RFC 9293 wants
	// two maximum segment lifetimes), and FinWait how long one that we closed
	// waits for the peer to close.
	TimeWait, FinWait time.Duration
	// MaxRetries is how often a segment is sent again before the connection
	// is given up.
	MaxRetries int
	// UDPPackets is the most datagrams one socket holds unread.
	UDPPackets int
	// UDPReceive is the most payload one socket holds unread.
	UDPReceive int
	// ICMPRate is the most ICMP messages a second that are sent in answer to
	// others, and ICMPBurst how many may go out at once.
	ICMPRate, ICMPBurst int
	// NeighbourQueue is the most frames let in from a neighbour while its link
	// address is being asked for: each may leave an answer that has to wait.
	NeighbourQueue int
}

// BufferRange is a range of buffer sizes, and the size at the start.
type BufferRange struct{ Min, Default, Max int }

// connOverhead is what a connection costs beside its buffers: gVisor's
// endpoint, its timers and registrations, the handle (measured: 4.7 to
// 7.8 KB), and a goroutine with a small stack that serves it.
const connOverhead = 12 << 10

// DefaultLimits sizes everything for a machine with ram bytes, of which the
// worst case of all connections takes about a third.
func DefaultLimits(ram uint64) Limits {
	l := Limits{
		TCPReceive: BufferRange{4 << 10, 16 << 10, 64 << 10},
		TCPSend:    BufferRange{4 << 10, 16 << 10, 64 << 10},
		Backlog:    64,
		TimeWait:   2 * time.Second,
		FinWait:    5 * time.Second,
		MaxRetries: 8,
		UDPPackets: 256,
		UDPReceive: 64 << 10,
		ICMPRate:   200,
		ICMPBurst:  50,

		NeighbourQueue: 8,
	}
	if ram < 48<<20 {
		l.TCPReceive.Default, l.TCPReceive.Max = 8<<10, 8<<10
		l.TCPSend.Default, l.TCPSend.Max = 8<<10, 16<<10
		l.Backlog, l.UDPPackets = 32, 128
	}
	l.MaxConns = int(ram/3) / l.PerConn()
	return l
}

// Fill is l with the defaults of a machine with ram bytes in the place of zero
// fields. MaxConns follows the buffers.
func (l Limits) Fill(ram uint64) Limits {
	d := DefaultLimits(ram)
	l.TCPReceive.fill(d.TCPReceive)
	l.TCPSend.fill(d.TCPSend)
	for _, f := range []struct{ to, from *int }{
		{&l.Backlog, &d.Backlog}, {&l.MaxRetries, &d.MaxRetries}, {&l.UDPPackets, &d.UDPPackets},
		{&l.UDPReceive, &d.UDPReceive}, {&l.ICMPRate, &d.ICMPRate}, {&l.ICMPBurst, &d.ICMPBurst},
		{&l.NeighbourQueue, &d.NeighbourQueue},
	} {
		if *f.to == 0 {
			*f.to = *f.from
		}
	}
	if l.TimeWait == 0 {
		l.TimeWait = d.TimeWait
	}
	if l.FinWait == 0 {
		l.FinWait = d.FinWait
	}
	if l.MaxConns == 0 {
		l.MaxConns = int(ram/3) / l.PerConn()
	}
	return l
}

// fill sets a range that has only a maximum, or nothing, keeping it ascending.
func (r *BufferRange) fill(d BufferRange) {
	if r.Max == 0 {
		*r = d
		return
	}
	r.Min, r.Default = min(d.Min, r.Max), min(d.Default, r.Max)
}

// PerConn is the most that one connection costs.
func (l *Limits) PerConn() int {
	return l.TCPReceive.Default + l.TCPSend.Max + connOverhead
}

func (l *Limits) check() error {
	for _, f := range []struct {
		name string
		n    int
	}{
		{"MaxConns", l.MaxConns}, {"Backlog", l.Backlog}, {"MaxRetries", l.MaxRetries},
		{"UDPPackets", l.UDPPackets}, {"UDPReceive", l.UDPReceive},
		{"ICMPRate", l.ICMPRate}, {"ICMPBurst", l.ICMPBurst},
		{"NeighbourQueue", l.NeighbourQueue},
		{"TimeWait", int(l.TimeWait)}, {"FinWait", int(l.FinWait)},
	} {
		if f.n <= 0 {
			return format.Errorf("netif: limit %s is %d; it must be positive", f.name, f.n)
		}
	}
	if err := l.TCPReceive.check("TCPReceive"); err != nil {
		return err
	}
	return l.TCPSend.check("TCPSend")
}

func (r BufferRange) check(name string) error {
	if r.Min <= 0 || r.Default < r.Min || r.Max < r.Default {
		return format.Errorf("netif: limit %s: %d, %d, %d are not an ascending range", name, r.Min, r.Default, r.Max)
	}
	return nil
}
