// Package abi holds the layouts and constants that a Xen guest shares with
// backends, as Xen 4.17's public headers have them: io/ring.h, io/netif.h,
// io/xs_wire.h, io/console.h, io/xenbus.h. Sizes are pinned at compile time, and
// a test compares everything with the C headers. All of it is little-endian, in
// the layout of amd64.
//
// There is no code here, and nothing of start info or hypercalls, which are
// boot's.
package abi
