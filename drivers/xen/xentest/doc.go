// Package xentest is a fake of what is outside a Xen VM, for the tests of the
// drivers: the gate, the store, the console daemon and the backends of network and
// disk, well behaved or not. It has its own idea of the protocols (nothing is shared with
// the drivers but the numbers in abi), so an error does not cancel itself out.
//
// The fake is strict where Xen and the gate are: a notification of a port that
// is not bound, or a grant reference that was never made, panics with Violation.
//
// Each known kind of attack on a frontend has tests by its name:
//
//	bad id, bad length, replay     netfront TestBreaches, xenstore TestStoreBreaksProtocol
//	ring ids reused                netfront TestBreaches, xenstore TestIDsReused
//	the same of a disk             blkfront TestHostile, TestNothingRead, TestRestore, TestBackendLeaves
//	producer index jump            TestProducerJump of ring and xenstore, console TestIndexJump
//	impossible metadata            netfront TestMalformed
//	double fetch                   netfront TestDoubleFetch
//	event storm, CVE-2021-28712    TestEventStorm of netfront and xenstore, console TestInputStorm
//	vanishing backend              netfront TestVanishingBackend, TestBackendComesAndGoes, TestMuteBackend
//	old data, XSA-403              TestPages, ring TestOldDataTx, netfront TestOldData
//	grant still in use             netfront TestGrantInUse, TestQuarantine, TestRingInUse
//	never drains, CVE-2022-46770   console TestNeverDrains
//	strings of any content         TestStoreStrings of xenstore, xenbus, lifecycle and vifs, blkfront TestStrings
//	split, stalled, dead store     xenstore TestSplitAnywhere, TestDeadStore, TestNeverAnswers, TestBatchHostile
//	anything at all                FuzzRing, FuzzXenstore, FuzzNetfront, FuzzConsole, xenbus TestAnyOrder
//
// Nothing runs by itself: the store and a backend that is Auto act within the
// Notify of whoever calls the gate, and a test moves the rest.
package xentest
