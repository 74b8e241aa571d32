package abi

// State is where one end of a device is in the handshake (enum xenbus_state),
// written as a decimal number to the end's directory.
type State uint8

// The states.
const (
	StateUnknown       State = 0
	StateInitialising  State = 1
	StateInitWait      State = 2
	StateInitialised   State = 3
	StateConnected     State = 4
	StateClosing       State = 5
	StateClosed        State = 6
	StateReconfiguring State = 7
	StateReconfigured  State = 8
)
