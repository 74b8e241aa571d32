package runtime

import (
	"internal/runtime/atomic"
	"unsafe"
)

// domainpoll: the runtime's network poller is the event loop of the machine.
// It knows the event sources of all devices by the counters that the devices
// advance, so looking costs a few loads, and its blocking form puts the VM to
// sleep until an interrupt or the next timer.

var (
	ampSources [ampMaxSources]*ampSource
	ampNSource int
	ampWaiting int    // goroutines parked until a source is ready
	ampBreak   uint32 // netpollBreak was called
	ampSleeps  uint64
)

func netpollinit()                                 {}
func netpollIsPollDescriptor(fd uintptr) bool      { return false }
func netpollopen(fd uintptr, pd *pollDesc) uintptr { return 1 } // EPERM: no file can be polled
func netpollclose(fd uintptr) uintptr              { return 0 }
func netpollarm(pd *pollDesc, mode int)            { throw("runtime: unused") }
func netpollBreak()                                { ampBreak = 1 }

// netpoll readies the goroutines whose sources are ready. delay < 0 blocks
// until there is one, delay > 0 does so for at most that many ns.
func netpoll(delay int64) (gList, int32) {
	var list gList
	var end int64
	if delay > 0 {
		end = nanotime() + delay
	}
	for {
		ampPolled = ampTicks
		if ampCollect(&list) || delay == 0 || ampBreak != 0 {
			ampBreak = 0
			return list, 0
		}
		when := ampGCTime()
		if delay > 0 {
			if nanotime() >= end {
				return list, 0
			}
			when = min(when, end)
		} else if ampWaiting == 0 {
			fatal("all goroutines are asleep - deadlock!")
		}
		if ampArm() {
			continue
		}
		ampEnd = 0
		ampSleep(when)
		if ampForceGC(&list) {
			return list, 0
		}
	}
}

// ampCollect moves the waiters of ready sources to list.
func ampCollect(list *gList) bool {
	found := false
	for i := 0; i < ampNSource; i++ {
		s := ampSources[i]
		if s.Waiter != 0 && ampReady(s) {
			gp := guintptr(s.Waiter).ptr()
			s.Waiter = 0
			ampWaiting--
			list.push(gp)
			found = true
		}
	}
	return found
}

// ampArm asks the devices that goroutines are parked for to interrupt at their next
// entry, and says whether one was faster. A source that nobody waits for stays
// silent: its driver looks when it next runs.
//
//go:nosplit
func ampArm() bool {
	for _, s := range ampSources[:ampNSource] {
		if s.Waiter != 0 {
			s.arm()
		}
	}
	ampFence()
	return ampAnyReady()
}

// arm asks the device of s to interrupt at the next entry.
func (s *ampSource) arm() {
	if s.Arm != nil {
		*s.Arm = s.Seen
	}
	if s.Arm32 != nil {
		*s.Arm32 = s.Event
	}
}

// ampAnyReady says whether a source is ready that a parked goroutine waits for.
//
//go:nosplit
func ampAnyReady() bool {
	for _, s := range ampSources[:ampNSource] {
		if s.Waiter != 0 && ampReady(s) {
			return true
		}
	}
	return false
}

// The end of the last sleep, in the terms of nanotime (0: it is not to be used again)
// and in those of the gate.
var (
	ampEnd   int64
	ampUntil uintptr
)

// ampFence orders a store before a later load, which x86 does not by itself, but for an
// exchange with memory (Intel SDM volume 3, section 10.2.2).
//
//go:nosplit
func ampFence() { atomic.Xchg(&ampFenced, 0) }

var ampFenced uint32

// ampSleep sleeps the VM until an event, or until the time when at the latest. It
// may end a little early.
//
//go:nosplit
func ampSleep(when int64) {
	if when != ampEnd {
		ampSetEnd(when)
	}
	ampSleeps++
	ampGate(ampGateSleep, ampUntil, 0)
}

// ampSetEnd makes when the end of the next sleep. Most sleeps would end with the same
// timer or collection as the one before, so that is converted once.
//
//go:nosplit
func ampSetEnd(when int64) {
	ampEnd = when
	if ampBoot.Features&ampFeatureXen != 0 {
		ampUntil = uintptr(when + ampEpoch)
	} else {
		ampUntil = ampTSC(when)
	}
}

// ampLongest is the longest sleep in ns: a clock that the hypervisor adjusts runs
// away from the TSC in time.
const ampLongest = 60e9

// ampTSC is about the TSC at the time when, or ampLongest from now.
//
//go:nosplit
func ampTSC(when int64) uintptr {
	left := min(max(when-nanotime1(), 0), ampLongest)
	whole, part := ampBoot.TSCPerNS>>32, ampBoot.TSCPerNS&(1<<32-1)
	// left has 36 bits: without its lowest four the product fits; 16 is more than
	// they come to, so that no sleep ends early.
	return uintptr(cputicks()) + uintptr(uint64(left)*whole+uint64(left)>>4*part>>28) + 16
}

// The runtime suite shortens the two minutes between forced collections.
//
//go:linkname forcegcperiod

// ampNever is a time that does not come.
const ampNever = 1 << 62

// ampGCTime is when a collection must be forced.
//
//go:nosplit
func ampGCTime() int64 {
	last := int64(atomic.Load64(&memstats.last_gc_nanotime))
	if last == 0 || gcController.gcPercent.Load() < 0 {
		return ampNever
	}
	return last + forcegcperiod
}

// ampForceGC adds the forced-collection goroutine to list when two minutes
// have gone by without a collection, as sysmon does.
func ampForceGC(list *gList) bool {
	if forcegc.g == nil || !forcegc.idle.Load() {
		return false
	}
	if t := (gcTrigger{kind: gcTriggerTime, now: nanotime()}); !t.test() {
		return false
	}
	lock(&forcegc.lock)
	forcegc.idle.Store(false)
	list.push(forcegc.g)
	unlock(&forcegc.lock)
	return true
}

// ampPollTick is called by findRunnable. Once a tick it gives the devices a
// turn even when a run queue never empties, and does sysmon's other chores.
func ampPollTick() {
	if ampTicks == ampPolled {
		return
	}
	list, _ := netpoll(0)
	ampForceGC(&list)
	if !list.empty() {
		injectglist(&list)
	}
	if scavenger.sysmonWake.Load() != 0 {
		scavenger.wake()
	}
}

// ampReady says whether s has something to tell.
//
//go:linkname ampReady
//go:nosplit
func ampReady(s *ampSource) bool {
	return atomic.Load(&s.Woken) != 0 || s.Counter != nil && *s.Counter != s.Seen
}

// ampRegister makes s known to the poller.
//
//go:linkname ampRegister
func ampRegister(s *ampSource) bool {
	if ampNSource == len(ampSources) {
		return false
	}
	ampSources[ampNSource] = s
	ampNSource++
	return true
}

// ampUnregister undoes ampRegister.
//
//go:linkname ampUnregister
func ampUnregister(s *ampSource) {
	for i := 0; i < ampNSource; i++ {
		if ampSources[i] == s {
			ampNSource--
			ampSources[i] = ampSources[ampNSource]
			ampSources[ampNSource] = nil
			return
		}
	}
}

// ampWait blocks the calling goroutine until s is ready. When nothing else can
// run, the VM halts right here: a lone request then costs no trip through the
// scheduler. It goes there as soon as that has something to do. From ampBusy to the
// gate nothing is called that may yield: what has been found would no longer hold.
//
//go:linkname ampWait
func ampWait(s *ampSource) {
	for !ampReady(s) {
		pp := getg().m.p.ptr()
		some := uint64(pp.runqhead^pp.runqtail) | uint64(pp.runnext) | uint64(sched.runq.head) |
			uint64(gcBlackenEnabled) | uint64(fingStatus.Load()&fingWake) | gcCleanups.workUnits.Load()
		if some != 0 || pp.preempt || sched.gcwaiting.Load() {
			if ampBusy(pp) {
				ampYield(s)
				continue
			}
		}
		end := ampGCTime()
		if when := pp.timers.wakeTime(); when != 0 && when < end {
			end = when
		}
		if end != ampEnd {
			ampSetEnd(end)
		}
		s.arm()
		ampFence()
		if ampReady(s) {
			break
		}
		if ampWaiting != 0 {
			if ampArm() {
				ampYield(s)
				continue
			}
		}
		ampSleeps++
		ampGate(ampGateSleep, ampUntil, 0)
		getg().m.p.ptr().schedtick++ // the time slept is not time run
		if ampWaiting != 0 {
			if ampAnyReady() {
				ampYield(s)
				continue
			}
		}
		if ampReady(s) {
			break
		}
		end, ampEnd = ampEnd, 0
		if nanotime1() >= end {
			ampYield(s)
		}
	}
	if s.Woken != 0 {
		atomic.Store(&s.Woken, 0)
	}
}

// ampBusy says whether the scheduler has something to do. ampWait asks only where a
// sum of all this is not 0.
//
//go:nosplit
func ampBusy(pp *p) bool {
	return pp.runqhead != pp.runqtail || pp.runnext != 0 || pp.preempt || !sched.runq.empty() ||
		sched.gcwaiting.Load() || gcBlackenEnabled != 0 || gcCleanups.needsWake() ||
		fingStatus.Load()&(fingWait|fingWake) == fingWait|fingWake
}

// ampYield parks the calling goroutine until s is ready.
func ampYield(s *ampSource) {
	gopark(ampPark, unsafe.Pointer(s), waitReasonIOWait, traceBlockNet, 1)
}

// ampPark publishes the waiter, unless the source became ready meanwhile.
func ampPark(gp *g, p unsafe.Pointer) bool {
	s := (*ampSource)(p)
	if ampReady(s) {
		return false
	}
	s.Waiter = uintptr(unsafe.Pointer(gp))
	ampWaiting++
	return true
}

// ampWake makes s ready once, and its waiter runnable at once.
//
//go:linkname ampWake
func ampWake(s *ampSource) {
	mp := acquirem() // no poll may come between look and take
	atomic.Store(&s.Woken, 1)
	if gp := guintptr(s.Waiter).ptr(); gp != nil {
		s.Waiter = 0
		ampWaiting--
		goready(gp, 1)
	}
	releasem(mp)
}
