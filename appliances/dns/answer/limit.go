package answer

import (
	"io"
	"math/bits"
	"net/netip"
	"sync"
	"time"

	"ampoule/libos/config/zone"
	"ampoule/libos/config/zone/answers"
	"ampoule/libos/format"
)

// Limit is response-rate limiting: how many answers of one kind a network gets
// over UDP. A kind is a class of answers (data, no data, no such name, referral,
// error) about one name of the zones: the name itself, the wildcard that stands
// for it, the delegation above it, or the zone that does not have it.
type Limit struct {
	// Rate is the number of answers in a second; 0 turns limiting off.
	Rate int
	// Slip: of so many answers above the rate one is sent without records and
	// with TC, so that a client which is real asks again over TCP. 0 stands for
	// none, 1 for all.
	Slip int
	// IPv4Prefix and IPv6Prefix are the bits of an address that tell networks
	// apart; 0 stands for 24 and 56.
	IPv4Prefix, IPv6Prefix int
	// Buckets is how many kinds and networks are remembered; a power of two, 0
	// stands for 16,384. Each takes 8 bytes.
	Buckets int
	// Exempt are networks that are not limited.
	Exempt []netip.Prefix
}

// What is to become of an answer.
const (
	limitPass = iota
	limitSlip
	limitDrop
)

const (
	defaultBuckets = 1 << 14
	ways           = 4 // places that a kind may have

	// tick is the unit of time: a second has so many.
	tick = 1 << 14
)

// bucket is the state of one kind for one network: from when on an answer is
// within the rate again (the generic cell rate algorithm). Times are modulo 2^32
// ticks, some three days.
type bucket struct{ tag, until uint32 }

// limiter counts answers. A nil limiter passes all.
type limiter struct {
	mu       sync.Mutex
	seed     uint64
	interval uint32 // ticks between answers
	burst    uint32 // ticks that until may be ahead
	slip     uint32
	limited  uint32
	mask4    uint64
	mask6    uint64
	exempt   []netip.Prefix
	buckets  []bucket
}

func newLimiter(l Limit, random io.Reader) (*limiter, error) {
	if l.Rate == 0 {
		return nil, nil
	}
	for v, d := range map[*int]int{&l.IPv4Prefix: 24, &l.IPv6Prefix: 56, &l.Buckets: defaultBuckets} {
		if *v == 0 {
			*v = d
		}
	}
	if l.Rate < 1 || l.Rate > tick || l.Slip < 0 || l.IPv4Prefix < 1 || l.IPv4Prefix > 32 ||
		l.IPv6Prefix < 1 || l.IPv6Prefix > 64 || l.Buckets < ways || bits.OnesCount(uint(l.Buckets)) != 1 {
		return nil, format.Errorf("answer: rate limiting by %+v: out of range", l)
	}
	s, err := newSecret(random)
	if err != nil {
		return nil, err
	}
	return &limiter{
		seed:     s[0],
		interval: uint32(tick / l.Rate),
		burst:    tick,
		slip:     uint32(l.Slip),
		mask4:    uint64(bits.ReverseBytes32(^uint32(0) << (32 - l.IPv4Prefix))),
		mask6:    bits.ReverseBytes64(^uint64(0) << (64 - l.IPv6Prefix)),
		exempt:   l.Exempt,
		buckets:  make([]bucket, l.Buckets),
	}, nil
}

// judge counts an answer to a client and says what is to become of it.
func (l *limiter) judge(from *Client, kind answers.Kind, now func() time.Time) int {
	if l == nil || from.Addr[0]|from.Addr[1] == 0 {
		return limitPass
	}
	t := now()
	ticks := uint32(t.Unix())*tick + uint32(uint64(t.Nanosecond())*tick/1e9)
	network := from.Addr[0] & l.mask6
	if from.V4 {
		network = from.Addr[0]&l.mask4 | 1<<63 // as no IPv6 network begins
	}
	h := zone.Mix(network ^ l.seed ^ uint64(kind))
	l.mu.Lock()
	above := l.above(h, ticks)
	if above {
		l.limited++
	}
	slip := l.slip != 0 && l.limited%l.slip == 0
	l.mu.Unlock()
	switch {
	case !above || l.exempted(from):
		return limitPass
	case slip:
		return limitSlip
	}
	return limitDrop
}

// above counts an answer of the kind and network that h stands for, and says
// whether that is above the rate. A kind that has no place takes that of the one
// which is nearest to its rate's lower end.
func (l *limiter) above(h uint64, now uint32) bool {
	set := l.buckets[uint32(h)&uint32(len(l.buckets)-1)&^(ways-1):][:ways:ways]
	tag := uint32(h>>32) | 1
	var place *bucket
	least := ^uint32(0)
	for i := range set {
		b := &set[i]
		ahead := b.until - now
		if ahead > l.burst+l.interval { // idle, or not used for days
			ahead = 0
		}
		if b.tag == tag {
			if ahead > l.burst {
				return true
			}
			b.until = now + ahead + l.interval
			return false
		}
		if ahead < least {
			least, place = ahead, b
		}
	}
	*place = bucket{tag, now + l.interval}
	return false
}

// exempted says whether a client above the rate is not to be limited.
func (l *limiter) exempted(from *Client) bool {
	if len(l.exempt) == 0 {
		return false
	}
	a := from.addr()
	for _, p := range l.exempt {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
