// Package virtioblk drives a virtio block device (virtio 1.2, section 5.2).
//
// A request is a chain of three descriptors: a header of 16 bytes and a status
// byte, both in one page that all requests share, and a page of data, which a
// flush has not. Up to Depth requests are with the device at a time; a larger
// transfer goes in turns, and calls are served one after the other: a store of
// a megabyte needs no more.
//
// The device is started by boot, and its descriptors are the gate's (see package
// virtio): whatever it is asked to, it reaches I/O pages only. Its cache is
// taken to be volatile if it offers VIRTIO_BLK_F_FLUSH; without that feature it
// has none that a driver could flush, and Flush does nothing (section 5.2.6.2).
//
// # What a hostile device can do
//
// Lie about the content of sectors, which is for the reader to check, and about
// having written them. Each used id, length and status is loaded once; one that
// breaks the protocol, or a request that is not answered within Config.Timeout,
// puts the device out of use for good. Pages that it still holds then are not
// used again.
package virtioblk
