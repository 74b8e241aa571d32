// Package netif joins a network device to gVisor's TCP/IP stack and gives
// appliances the names they know from Go's package net.
//
// A received frame goes to the appliance's FastPath first, if it has one, and
// then to the stack. What the stack sends is written straight into I/O pages;
// checksums and the cutting of large TCP segments are left to devices that can
// do it. All that a peer sends is hostile: frames are bounds-checked before
// the stack sees them, and Limits bounds what they can make us hold.
//
// Addresses are static, or where the configuration asks for it from a DHCP
// server (package dhcp4) or from router advertisements (package ip6). There is
// no name resolution, no forwarding, and no reaction to redirects.
//
// Which IP versions and sources of addresses an image has at all is decided by
// package feature, when it is built.
package netif
