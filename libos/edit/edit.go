// Package edit is how this project writes down changes to other people's
// sources: the Go runtime (libos/rt) and the network stack (libos/netif/trim).
// Each change is an exact piece of text and the number of times that it must
// occur, so that a release which a list does not fit is never guessed at:
// tools/mkoverlay stops the build with its name, the file and the text.
package edit

// An Edit replaces an exact piece of a file. Old must occur exactly Count
// times, or the build stops.
type Edit struct {
	// File is the path below the top of the sources. A name without a folder
	// may hold a *, as in path.Match, and stands for all files of that name in
	// the folders that are used; Count is then what they have together.
	File  string
	Alt   string // where older or newer releases keep the file, or ""
	Old   string
	New   string
	Count int
	// Absent allows the pattern to be missing: it belongs to some of the
	// supported releases only. It still may not occur another number of times.
	Absent bool
}

// A Drop leaves files out: those of a name, as in Edit.File, in the folders that
// are used. There must be exactly Count, and each must hold Mark.
type Drop struct {
	File  string
	Mark  string
	Count int
}
