// Package xen says what the Xen drivers need from the gate, and which pages they
// share with the other side.
//
// Boot code finds the store and the console, grants every ring page and every
// I/O page to the backend domain, and then the machine is sealed; ring 3 makes
// no hypercall and never sees the grant table. What is left for the drivers:
//
//	netfront        frames                     drivers/xen/netfront
//	vifs            which vif is used          drivers/xen/vifs
//	xenbus          one device's handshake     drivers/xen/xenbus
//	xenstore        the store's client         drivers/xen/xenstore
//	console         the PV console             drivers/xen/console
//	lifecycle       shutdown, save, restore    drivers/xen/lifecycle
//	ring            producer and consumer      drivers/xen/ring
//	abi             layouts and constants      drivers/xen/abi
//	Gate, Pages     ports, shared pages        this package
//	xentest         a fake dom0 for tests      drivers/xen/xentest
//
// # Event channels
//
// A driver never sees pending bits. It sees producer indexes advance, by way of
// event.Source; which port has woken the VM is the gate's business. So an event
// that comes without work costs a look at the indexes and nothing else.
//
// # Grants
//
// All grants are made at boot and never revoked: a driver names a page by its
// fixed reference. A backend can therefore read and write every I/O page and
// every ring page at any time, and drivers take them for hostile ground: what
// is read is copied once and checked. What a driver must see to is that a page
// is not reused for something else while a backend that keeps the rules may
// still use it, or a dead one still maps it (Gate.InUse); netfront says how.
//
// # Save and restore
//
// A restored VM is a new domain. Ports are gone (they must not even be closed:
// the number may be someone else's by now), the store has forgotten watches and
// transactions, and backends start anew; references and pages stay as they
// were. Every driver has Suspend, which makes it stop touching ports, and
// Resume(restored), which rebuilds all of that, or with restored false, after a
// save that was cancelled, goes on where it stopped. Package lifecycle calls
// them in the right order.
package xen
