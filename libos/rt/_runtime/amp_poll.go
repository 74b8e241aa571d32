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
		left := ampGCWait()
		if delay > 0 {
			d := end - nanotime()
			if d <= 0 {
				return list, 0
			}
			if d < left {
				left = d
			}
		} else if !ampAwaited() {
			fatal("all goroutines are asleep - deadlock!")
		}
		if ampArm() {
			continue
		}
		ampSleep(left)
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
			list.push(gp)
			found = true
		}
	}
	return found
}

// ampAwaited says whether any source can still wake a goroutine.
func ampAwaited() bool {
	for i := 0; i < ampNSource; i++ {
		if ampSources[i].Waiter != 0 {
			return true
		}
	}
	return false
}

// ampArm asks every device that a goroutine waits for to interrupt at its next
// entry, and says whether one was faster. A source without a waiter stays
// silent: its driver looks when it next runs.
func ampArm() bool {
	for i := 0; i < ampNSource; i++ {
		s := ampSources[i]
		if s.Waiter == 0 && s != ampHalting {
			continue
		}
		if s.Arm != nil {
			*s.Arm = s.Seen
		}
		if s.Arm32 != nil {
			*s.Arm32 = s.Event
		}
	}
	ampFence()
	for i := 0; i < ampNSource; i++ {
		if s := ampSources[i]; ampReady(s) && (s.Waiter != 0 || s == ampHalting) {
			return true
		}
	}
	return false
}

// ampSleep sleeps the VM until an event, for at most ns.
//
//go:nosplit
func ampSleep(ns int64) {
	ampSleeps++
	if ampBoot.Features&ampFeatureXen != 0 {
		ns += nanotime1() + ampEpoch
	}
	ampGate(ampGateSleep, uintptr(ns), 0)
}

// The runtime suite shortens the two minutes between forced collections.
//
//go:linkname forcegcperiod

// ampGCWait is the time left until a collection must be forced; at least 1 ns,
// since 0 means no limit to the gate.
func ampGCWait() int64 {
	last := int64(atomic.Load64(&memstats.last_gc_nanotime))
	if last == 0 || gcController.gcPercent.Load() < 0 {
		return forcegcperiod
	}
	return max(last+forcegcperiod-nanotime(), 1)
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

var ampHalting *ampSource // the source whose waiter halts in place

// ampWait blocks the calling goroutine until s is ready. When nothing else can
// run, the VM halts right here: a lone request then costs no trip through the
// scheduler.
//
//go:linkname ampWait
func ampWait(s *ampSource) {
	for !ampReady(s) {
		halted := false
		systemstack(func() { halted = ampHalt(s) })
		if !halted {
			gopark(ampPark, unsafe.Pointer(s), waitReasonIOWait, traceBlockNet, 1)
		}
	}
	atomic.Store(&s.Woken, 0)
}

// ampPark publishes the waiter, unless the source became ready meanwhile.
func ampPark(gp *g, p unsafe.Pointer) bool {
	s := (*ampSource)(p)
	if ampReady(s) {
		return false
	}
	s.Waiter = uintptr(unsafe.Pointer(gp))
	return true
}

// ampHalt sleeps the VM in place if no goroutine, timer or collection wants to
// run, and says whether it did.
func ampHalt(s *ampSource) bool {
	pp := getg().m.p.ptr()
	if !runqempty(pp) || !sched.runq.empty() || sched.gcwaiting.Load() || gcBlackenEnabled != 0 ||
		pp.preempt || fingStatus.Load()&(fingWait|fingWake) == fingWait|fingWake || gcCleanups.needsWake() {
		return false
	}
	left := ampGCWait()
	if left == 1 {
		return false
	}
	if when := pp.timers.wakeTime(); when != 0 {
		d := when - nanotime()
		if d <= 0 {
			return false
		}
		left = min(left, d)
	}
	ampHalting = s
	if !ampArm() {
		ampSleep(left)
	} else if !ampReady(s) {
		ampHalting = nil
		return false // another source: its waiter must run
	}
	ampHalting = nil
	pp.schedtick++ // the time slept is not time run
	for i := 0; i < ampNSource; i++ {
		if o := ampSources[i]; o != s && o.Waiter != 0 && ampReady(o) {
			return false
		}
	}
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
		goready(gp, 1)
	}
	releasem(mp)
}
