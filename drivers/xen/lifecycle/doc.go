// Package lifecycle hears what the toolstack wants of the VM, and tells it what
// the VM is.
//
// # Requests
//
// The toolstack writes poweroff, halt, reboot or suspend to control/shutdown,
// and takes the empty string that the VM writes there for the answer: xl and
// XAPI give up after a minute without it. Watcher acknowledges at once, before
// anything is done about it, and then calls Config.Do from its one goroutine.
// Any other value is acknowledged and dropped, and counted; control/sysrq is not
// looked at.
//
// # What the VM tells
//
// Announce writes control/feature-*, without which XAPI offers no clean shutdown
// and no migration, and the attr/* and data/* keys by which XAPI, Xen Orchestra
// and Terraform know a VM with guest tools. The store may refuse some of them;
// the others are written all the same. That libxl refuses those control/feature-*
// that only XAPI reads is no error.
//
// # Save and restore
//
// Suspend brings all drivers to rest, runs the hypercall, and has them go on, in
// the order that their dependence on each other asks for.
//
// # Misbehaving stores
//
// The value is compared with the four words, and everything else is dropped
// whatever it is; each round takes bounded time, and there is a pause between
// two.
package lifecycle
