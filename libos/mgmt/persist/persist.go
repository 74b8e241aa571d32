// Package persist keeps the generations of certificates on the VM's disk, in a
// store (package store) that seals private keys with a key of its own.
//
// The key is compiled in, if the configuration says so, or given at the start on
// the kernel command line (store-key=, 64 hexadecimal digits). Who has it and the
// disk has the certificates' keys. Both ways it is known to who can read the image,
// or the VM's start file; it keeps the keys from those who get the disk alone: a
// storage administrator, a backup, a discarded drive.
package persist

import (
	"context"
	"encoding/hex"
	"strings"
	"time"

	"ampoule/libos/format"
	"ampoule/libos/mgmt/certs"
	"ampoule/libos/mgmt/plane"
	"ampoule/libos/store"
)

// Disk is a mgmt.Keeper. It is plain data that tools/configc writes as Go source.
type Disk struct {
	Key string // store.KeySize bytes; empty: from the command line
}

// argument is what the key stands behind on the command line.
const argument = "store-key="

// patience is how long the disk may take to be there.
const patience = 10 * time.Second

// Open implements mgmt.Keeper. An error says why nothing can be kept; the disk is
// as it was.
func (d Disk) Open(h *plane.Host) (certs.Keeper, error) {
	key := []byte(d.Key)
	if d.Key == "" {
		for _, word := range strings.Fields(h.Command) {
			if v, ok := strings.CutPrefix(word, argument); ok {
				var err error
				if key, err = hex.DecodeString(v); err != nil || len(key) != store.KeySize {
					return nil, format.Errorf("%s on the command line is not %d hexadecimal digits", argument, 2*store.KeySize)
				}
			}
		}
	}
	if len(key) == 0 {
		return nil, format.Errorf("no key for the disk: there is none in the image, and no %s on the command line", argument)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	disk, err := h.Disk(ctx)
	if err != nil {
		return nil, err
	}
	if disk == nil {
		return nil, format.Errorf("there is no disk")
	}
	s, err := store.Open(store.Config{Disk: disk, Owner: h.Appliance + "/" + h.Hostname, Key: key})
	if err != nil {
		return nil, err
	}
	return keeper{s}, nil
}

// keeper is a certs.Keeper.
type keeper struct{ *store.Store }

// Load implements certs.Keeper.
func (k keeper) Load() (values []certs.Value, number uint64) {
	names, number := k.Names()
	for _, n := range names {
		if data, ok := k.Get(n); ok {
			values = append(values, certs.Value{Name: n, Data: data})
		}
	}
	return values, number
}

// Keep implements certs.Keeper.
func (k keeper) Keep(base uint64, values []certs.Value) (uint64, error) {
	var changes []store.Change
	there := map[string]bool{}
	for _, v := range values {
		there[v.Name] = true
		changes = append(changes, store.Change{Name: v.Name, Value: v.Data, Private: v.Private})
	}
	names, _ := k.Names()
	for _, n := range names {
		if !there[n] {
			changes = append(changes, store.Change{Name: n, Forget: true})
		}
	}
	return k.Commit(base, changes)
}

// Kept implements certs.Keeper.
func (k keeper) Kept() (bool, string) {
	st := k.Status()
	return st.Persisted, st.Notice
}
