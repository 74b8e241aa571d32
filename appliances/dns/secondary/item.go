package secondary

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"ampoule/appliances/dns/tsig"
	"ampoule/appliances/dns/xfr"
	"ampoule/libos/config/zone"
	"ampoule/libos/format"
)

const (
	// firstRetry is when a zone that has never been loaded is tried again; each
	// time after that twice as long, up to lastRetry.
	firstRetry = time.Second
	lastRetry  = 5 * time.Minute
	// calm is the least time between two checks of a zone, however many NOTIFY come.
	calm = time.Second
)

// item is one zone. Its goroutine alone fetches; other fields are guarded by mu.
type item struct {
	s     *Server
	conf  *Zone
	of    *item  // the catalog that it is a member of, or nil
	label string // in the catalog
	wake  chan struct{}
	stop  context.CancelFunc // guarded by Server.mu

	// Of the goroutine.
	failures int
	members  map[string]*item // of a catalog, by origin

	mu      sync.Mutex
	content zone.Zone
	journal *xfr.Journal
	bytes   int
	soa     xfr.SOA
	fresh   time.Time // when a primary last said that content is its newest
	expired bool
	closed  bool
	expiry  *time.Timer
	prefer  netip.Addr // the primary to ask first
}

// run keeps the zone up to date until ctx is done.
func (it *item) run(ctx context.Context) {
	for {
		wait := it.update(ctx)
		start := time.Now()
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-it.wake:
			timer.Stop()
			if left := calm - time.Since(start); left > 0 && !sleep(ctx, left) {
				return
			}
		}
	}
}

// sleep waits. False: ctx is done.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// update asks the primaries in turn until one answers, and returns when to ask
// again.
func (it *item) update(ctx context.Context) time.Duration {
	select {
	case it.s.slots <- struct{}{}:
		defer func() { <-it.s.slots }()
	case <-ctx.Done():
		return 0
	}
	for _, p := range it.order() {
		err := it.fetch(ctx, p)
		if err == nil {
			it.failures = 0
			return it.next()
		}
		if ctx.Err() != nil {
			return 0
		}
		it.s.stats.Failed.Add(1)
		if errors.Is(err, errTooLarge) {
			it.s.stats.TooLarge.Add(1)
		}
		it.s.log.Warn("transfer failed", "zone", presentation(it.conf.Origin), "primary", p.Addr, "error", err)
	}
	it.failures++
	return it.later()
}

// order returns the primaries, the one that spoke last first.
func (it *item) order() []Primary {
	it.mu.Lock()
	defer it.mu.Unlock()
	var first, rest []Primary
	for _, p := range it.conf.Primaries {
		if p.Addr.Addr() == it.prefer {
			first = append(first, p)
		} else {
			rest = append(rest, p)
		}
	}
	return append(first, rest...)
}

// next is when to ask again after success. A tenth is left to chance, so that
// zones which came together are not asked for together for ever.
func (it *item) next() time.Duration {
	it.mu.Lock()
	defer it.mu.Unlock()
	d := it.s.cfg.Refresh.clamp(it.soa.Refresh)
	return d - rand.N(d/10+1)
}

// later is when to ask again after failure.
func (it *item) later() time.Duration {
	it.mu.Lock()
	defer it.mu.Unlock()
	if it.content != "" {
		return it.s.cfg.Retry.clamp(it.soa.Retry)
	}
	d := min(firstRetry<<min(it.failures-1, 10), lastRetry)
	if b := it.s.cfg.Retry.Max; b > 0 {
		d = min(d, b)
	}
	return d - rand.N(d/10+1)
}

// current returns what there is.
func (it *item) current() zone.Zone {
	it.mu.Lock()
	defer it.mu.Unlock()
	return it.content
}

// confirmed notes that what there is is the newest.
func (it *item) confirmed() {
	it.mu.Lock()
	defer it.mu.Unlock()
	it.renew()
	if it.expired && !it.closed {
		it.expired = false
		it.show(it.content)
		it.s.log.Info("zone is good again", "zone", presentation(it.conf.Origin), "serial", it.soa.Serial)
	}
}

// renew starts the time until the zone expires anew. The caller holds mu.
func (it *item) renew() {
	it.fresh = time.Now()
	d := it.s.cfg.Expire.clamp(it.soa.Expire)
	if it.expiry == nil {
		it.expiry = time.AfterFunc(d, it.expire)
	} else {
		it.expiry.Reset(d)
	}
}

// expire ends the answers from the zone when no primary has confirmed it in time
// (RFC 1035 section 3.3.13). What there is stays, should a primary say that it is
// still the newest.
func (it *item) expire() {
	it.mu.Lock()
	defer it.mu.Unlock()
	if it.closed || it.expired || time.Since(it.fresh) < it.s.cfg.Expire.clamp(it.soa.Expire) {
		return
	}
	it.expired = true
	it.show("")
	it.s.stats.Expired.Add(1)
	it.s.log.Error("zone has expired", "zone", presentation(it.conf.Origin), "serial", it.soa.Serial)
}

// show serves content in the place of what is served. A catalog is not served.
func (it *item) show(content zone.Zone) {
	if it.conf.Catalog != nil {
		return
	}
	if err := it.s.zones.Set(it.conf.Origin, content); err != nil {
		it.s.log.Error("zone can't be served", "zone", presentation(it.conf.Origin), "error", err)
	}
}

// replace takes new content.
func (it *item) replace(content zone.Zone) error {
	it.mu.Lock()
	defer it.mu.Unlock()
	if it.closed {
		return context.Canceled
	}
	var journal *xfr.Journal
	if limit := it.s.cfg.JournalBytes; limit > 0 && it.content != "" && it.conf.Catalog == nil {
		journal = it.journal.Append(it.content, content, limit)
	}
	bytes := len(content) + journal.Size()
	if !it.s.account(bytes - it.bytes) {
		return format.Errorf("%w: all zones would take more than %d bytes", errTooLarge, it.s.cfg.AllBytes)
	}
	it.bytes, it.content, it.journal, it.expired = bytes, content, journal, false
	it.soa = xfr.ZoneSOA(content)
	it.renew()
	it.show(content)
	it.s.SetJournal(it.conf.Origin, journal)
	return nil
}

// close frees what the item holds.
func (it *item) close() {
	it.mu.Lock()
	defer it.mu.Unlock()
	it.closed = true
	if it.expiry != nil {
		it.expiry.Stop()
	}
	it.s.account(-it.bytes)
	it.bytes, it.content, it.journal = 0, "", nil
}

// hears says whether who has an address and signed with a key may send NOTIFY.
func (it *item) hears(from netip.Addr, key *tsig.Key) bool {
	for _, p := range it.conf.Primaries {
		if p.Addr.Addr() == from || key != nil && p.Key == key.Name {
			return true
		}
	}
	return false
}

// notified has the zone checked soon, unless it is as new as the NOTIFY says.
func (it *item) notified(n *xfr.Notice, from netip.Addr) {
	it.mu.Lock()
	if it.content != "" && !it.expired && n.HasSerial && !xfr.Newer(n.Serial, it.soa.Serial) {
		it.mu.Unlock()
		return
	}
	it.prefer = from
	it.mu.Unlock()
	select {
	case it.wake <- struct{}{}:
	default: // it will be checked anyway
	}
}
