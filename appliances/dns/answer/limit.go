package answer

import (
	"encoding/binary"
	"io"
	"math/bits"
	"net/netip"
	"sync/atomic"

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
	ways           = 4    // places that a kind may have
	burst          = tick // ticks that a bucket may be ahead
)

// bucket is the state of one kind for one network: what tells it apart from others
// that may have the place, in the upper half, and from when on an answer is within the
// rate again (the generic cell rate algorithm), in ticks modulo 2^32. Where two
// goroutines count one kind at a time, one answer may go uncounted.
type bucket struct{ atomic.Uint64 }

func (b *bucket) set(tag uint64, until uint32) { b.Store(tag<<32 | uint64(until)) }

// limiter counts answers.
type limiter struct {
	seed     uint64
	interval uint32 // ticks between answers
	slip     uint32
	limited  atomic.Uint32
	mask4    uint64
	mask6    uint64
	exempt   []netip.Prefix
	sets     [][ways]bucket
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
		seed:     binary.LittleEndian.Uint64(s[:]),
		interval: uint32(tick / l.Rate),
		slip:     uint32(l.Slip),
		mask4:    uint64(bits.ReverseBytes32(^uint32(0) << (32 - l.IPv4Prefix))),
		mask6:    bits.ReverseBytes64(^uint64(0) << (64 - l.IPv6Prefix)),
		exempt:   l.Exempt,
		sets:     make([][ways]bucket, l.Buckets/ways),
	}, nil
}

// judge counts an answer to a client and says what is to become of it. now is in
// ticks. It calls nothing for an answer that is within the rate and has a place.
func (l *limiter) judge(from *Client, kind answers.Kind, now uint32) int {
	if from.Addr[0]|from.Addr[1] == 0 {
		return limitPass
	}
	h := l.hash(from, kind)
	set := &l.sets[h&uint64(len(l.sets)-1)]
	place := &set[0]
	state := place.Load()
	if (state^h)>>32 != 0 {
		if place = l.find(set, h>>32, now); place == nil {
			return limitPass
		}
		state = place.Load()
	}
	ahead := l.ahead(state, now)
	if ahead > burst {
		return l.limit(from)
	}
	place.set(h>>32, now+ahead+l.interval)
	return limitPass
}

// hash is that of a kind for the client's network.
func (l *limiter) hash(from *Client, kind answers.Kind) uint64 {
	network := from.Addr[0] & l.mask6
	if from.V4 {
		network = from.Addr[0]&l.mask4 | 1<<63 // as no IPv6 network begins
	}
	return zone.Mix(network ^ l.seed ^ uint64(kind))
}

// first is judge for a kind with that hash if it has the first place of its set and is
// within the rate; else it does nothing and is false.
func (l *limiter) first(h uint64, now uint32) bool {
	place := &l.sets[h&uint64(len(l.sets)-1)][0]
	state := place.Load()
	ahead := int32(uint32(state) - now)
	if (state^h)>>32 != 0 || ahead > burst {
		return false
	}
	place.set(h>>32, now+uint32(max(ahead, 0))+l.interval)
	return true
}

// limit says what is to become of an answer above the rate.
func (l *limiter) limit(from *Client) int {
	n := l.limited.Add(1)
	switch {
	case l.exempted(from):
		return limitPass
	case l.slip != 0 && n%l.slip == 0:
		return limitSlip
	}
	return limitDrop
}

// find returns the place of the kind with a tag, but for the first place of its set.
// A kind that has none gets one, its first answer is counted, and nil returned.
func (l *limiter) find(set *[ways]bucket, tag uint64, now uint32) *bucket {
	for i := range set {
		if set[i].Load()>>32 == tag {
			return &set[i]
		}
	}
	l.place(set, now).set(tag, now+l.interval)
	return nil
}

// ahead is by how much a bucket is ahead of now: not at all if it is idle, or was not
// used for days.
func (l *limiter) ahead(b uint64, now uint32) uint32 {
	if ahead := uint32(b) - now; ahead <= burst+l.interval {
		return ahead
	}
	return 0
}

// place is where a kind goes that has none: to the one which is nearest to its rate's
// lower end.
func (l *limiter) place(set *[ways]bucket, now uint32) *bucket {
	place, least := &set[0], ^uint32(0)
	for i := range set {
		if ahead := l.ahead(set[i].Load(), now); ahead < least {
			least, place = ahead, &set[i]
		}
	}
	return place
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
