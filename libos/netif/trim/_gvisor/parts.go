package tcp

import (
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/waiter"
)

// parts are what an endpoint's pointers of these names point to once it is connected,
// or on the way there: they live as long as it does.
type parts struct {
	snd      sender
	rcv      receiver
	h        handshake
	board    SACKScoreboard
	reno     renoState
	recovery renoRecovery
	sack     sackRecovery
	queue    waiter.Queue // unless the user has one
	protos   [1]tcpip.NetworkProtocolNumber
}
