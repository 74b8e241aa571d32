package xenstore

import (
	"errors"
	"slices"

	"ampoule/libos/format"
)

// Error is an error reply, by the name that the store gives it.
type Error string

// What callers branch on.
const (
	ErrNotExist Error = "ENOENT" // no such path, or transaction
	ErrAccess   Error = "EACCES" // the VM may not do that
	ErrAgain    Error = "EAGAIN" // the transaction met another's changes
	ErrExist    Error = "EEXIST"
)

var (
	// ErrBroken says that the store broke the protocol; the connection is out
	// of use until the next restore.
	ErrBroken = errors.New("xenstore: connection out of use")
	// ErrArgument says that a path or value cannot be sent.
	ErrArgument = errors.New("xenstore: argument")
	// ErrClosed answers every call after Close.
	ErrClosed = errors.New("xenstore: closed")
)

// known are the errors that the store can answer (xsd_errors).
var known = [...]Error{
	"EINVAL", "EACCES", "EEXIST", "EISDIR", "ENOENT", "ENOMEM", "ENOSPC", "EIO", "ENOTEMPTY",
	"ENOSYS", "EROFS", "EBUSY", "EAGAIN", "EISCONN", "E2BIG", "EPERM",
}

func (e Error) Error() string { return "xenstore: " + string(e) }

// replyError is the error of an error reply. A name that is not known is quoted
// in part: it may have any length and content.
func replyError(body []byte) error {
	name := body
	if n := len(name); n > 0 && name[n-1] == 0 {
		name = name[:n-1]
	}
	if i := slices.Index(known[:], Error(name)); i >= 0 {
		return known[i]
	}
	return format.Errorf("xenstore: unknown error reply %.32q", name)
}
