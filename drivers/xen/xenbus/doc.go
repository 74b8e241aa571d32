// Package xenbus finds a VM's devices in the store and keeps each one connected
// to its backend (public/io/xenbus.h).
//
// Both ends of a device have a directory with a state. The backend of a vif goes
// to InitWait when it is ready; the frontend writes what the backend must know
// (ring references, event channels, features) and goes to Connected; the backend
// takes the rings and goes to Connected too. Device does the frontend's part, in
// one goroutine, by looking at both directories whenever a watch says that
// something has changed:
//
//	         InitWait               Connected
//	idle ---------------> linking ------------> up
//	  ^   Driver.Connect    |  time-out    Up    |  backend leaves, or broke
//	  |                     |  backend closes    |  the protocol
//	  |   Driver.Free       v                    v  Driver.Down
//	  +------------------ leaving <--------------+
//	   backend is Closed or gone
//
// What is decided by looking at the present state cannot be thrown off by events
// that come late, twice, without end or not at all.
//
// # When the backend is done with the pages
//
// Between Down and Free the rings are not used any more, but the backend may
// still have pages of them mapped or be copying. Free comes when the backend is
// Closed, which it may say only after it has unmapped everything, when its
// directory is gone, or when, having been Connected, it is found in InitWait or
// before: a new instance that knows nothing of the rings. A backend that says
// Closing and stays there keeps its pages for as long.
//
// # Coming back
//
// After Closed the frontend asks for another round by going to Initialising,
// unless the backend is to be removed (online is 0) or has broken the protocol:
// that one must first be removed and made anew. Attempts that fail are repeated
// after a pause that doubles up to Times.RetryMax.
//
// A device that the toolstack has removed for good, directory and all, can go on
// with another directory (Device.Move). One that nobody uses is parked (Park): a
// toolstack that removes it gets its answer, or it would wait for ten seconds.
//
// # Misbehaving stores
//
// Strings have any length and content; what is no state counts as Unknown, what
// is no decimal index is no device. Each look at the store ends after Times.Step,
// and between two looks there is a pause.
package xenbus
