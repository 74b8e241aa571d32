package tcp

// What a connection has for what may befall it is made here when it does.

// timerKind says what a timer of a connection is for.
type timerKind uint8

const (
	keepaliveTimer timerKind = iota
	resendTimer
	reorderTimer
	probeTimer
	corkTimer
)

// prepare is init without the function that is called: handler makes it.
func (t *timer) prepare(e *Endpoint, k timerKind) {
	t.init(e.stack.Clock(), nil)
	t.of, t.kind = e, k
}

// handler is what the timer calls. There is one call of timerHandler, which is copied
// to each.
func (t *timer) handler() func() {
	e := t.of
	f := e.keepaliveTimerExpired
	switch t.kind {
	case resendTimer:
		f = e.snd.retransmitTimerExpired
	case reorderTimer:
		f = e.snd.rc.reorderTimerExpired
	case probeTimer:
		f = e.snd.probeTimerExpired
	case corkTimer:
		f = e.snd.corkTimerExpired
	}
	return timerHandler(e, f)
}
