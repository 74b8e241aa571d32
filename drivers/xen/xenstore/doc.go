// Package xenstore is a client of Xen's store over the page that store and VM
// share (public/io/xs_wire.h, docs/misc/xenstore.txt): read, write, mkdir, rm,
// directory, permissions, transactions and watches.
//
// Any number of goroutines may use a Client, one after the other: a caller waits
// for its turn and for the reply no longer than its context allows. ReadAll and
// Apply send all their requests before they wait, since the way to the store and
// back takes much longer than the store does. One goroutine of the Client reads
// what the store sends.
//
// # Watches
//
// What a watch tells is that something below its path has changed, not what:
// whoever waits on it reads the state again. So events need no queue, and a
// storm of them costs one flag per watch.
//
// # Misbehaving stores
//
// What the store sends is of any length and content. Messages are put together
// in a buffer of the largest size there is; a length beyond that, a reply to
// nothing that was asked, a type that does not fit, or an index that runs ahead
// ends the connection: every call answers ErrBroken, and the reader sleeps, until
// Resume. Events of watches that nobody has are dropped. A store that sends
// events without end is read at a bounded pace. Values are returned as they
// came, up to 4096 bytes: checking them is the caller's business.
//
// The memory of a Client is the two message buffers, the watches (at most
// MaxWatches), and the reply being handed over.
package xenstore
