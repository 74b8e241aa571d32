// Package xentest is a fake of what is outside a Xen VM, for the tests of the
// drivers: the gate, the store, the console daemon and the network backend, well
// behaved or not. It has its own idea of the protocols (nothing is shared with
// the drivers but the numbers in abi), so an error does not cancel itself out.
//
// The fake is strict where Xen and the gate are: a notification of a port that
// is not bound, or a grant reference that was never made, panics with Violation.
//
// Nothing runs by itself: the store and a backend that is Auto act within the
// Notify of whoever calls the gate, and a test moves the rest.
package xentest
