package xen

// Port is an event channel of this VM, by its local number.
type Port uint32

// Ref is a grant reference of this VM.
type Ref uint32

// Gate is the part of the gate that the Xen drivers call. No method blocks, and
// all may be called from any goroutine.
type Gate interface {
	// Notify raises a port's event at the other end. The port must be the
	// store's, the console's, or from Alloc and not yet closed; the gate
	// answers any other one by ending the VM.
	Notify(Port)
	// Alloc makes a port that the backend domain, which boot has fixed, may
	// bind (EVTCHNOP_alloc_unbound). It fails when the gate's or Xen's limit
	// is reached.
	Alloc() (Port, error)
	// Close gives back a port from Alloc (EVTCHNOP_close).
	Close(Port)
	// InUse says whether the backend domain is reading or writing the page of
	// a reference, or has it mapped (GTF_reading, GTF_writing). The reference
	// must be one of those that boot has made; the gate answers any other one
	// by ending the VM.
	InUse(Ref) bool
}

// Line is a page that toolstack and VM share from the start, and its port: the
// store's or the console's. Both are good until the next restore.
type Line struct {
	Page Page
	Port Port
}
