package xenbus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ampoule/drivers/xen/abi"
	"ampoule/drivers/xen/xenstore"
)

// MaxDevices is how many devices of a kind are looked at.
const MaxDevices = 16

// maxPath is the longest path of a backend that is believed.
const maxPath = 256

// Enumerate lists the devices of a kind ("vif") as their directories
// ("device/vif/0"), by number. Names that are no number are left out, and so is
// what goes beyond MaxDevices.
func Enumerate(ctx context.Context, store *xenstore.Client, kind string) ([]string, error) {
	names, err := store.Directory(ctx, "device/"+kind)
	if errors.Is(err, xenstore.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("xenbus: %w", err)
	}
	var ids []int
	for _, n := range names {
		if id, err := strconv.ParseUint(n, 10, 16); err == nil && strconv.Itoa(int(id)) == n {
			ids = append(ids, int(id))
		}
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	var paths []string
	for _, id := range ids[:min(len(ids), MaxDevices)] {
		paths = append(paths, fmt.Sprintf("device/%s/%d", kind, id))
	}
	return paths, nil
}

// Peer lets a driver read both directories while it connects.
type Peer struct {
	store       *xenstore.Client
	front, back string
}

// Frontend reads a key of the frontend's directory, which the toolstack fills.
// have is false when it is not there.
func (p *Peer) Frontend(ctx context.Context, key string) (value string, have bool, err error) {
	return read(ctx, p.store, p.front+"/"+key)
}

// Backend reads a key of the backend's directory. have is false when it is not
// there.
func (p *Peer) Backend(ctx context.Context, key string) (value string, have bool, err error) {
	return read(ctx, p.store, p.back+"/"+key)
}

// Offers says whether the backend has a feature: its key is there and a number
// other than 0.
func (p *Peer) Offers(ctx context.Context, key string) (bool, error) {
	v, _, err := p.Backend(ctx, key)
	n, perr := strconv.ParseUint(v, 10, 32)
	return err == nil && perr == nil && n != 0, err
}

// read reads a path that may not be there.
func read(ctx context.Context, store *xenstore.Client, path string) (value string, have bool, err error) {
	v, err := store.Read(ctx, path)
	if errors.Is(err, xenstore.ErrNotExist) {
		return "", false, nil
	}
	return v, err == nil, err
}

// parseState reads a state; what is none is Unknown.
func parseState(v string) abi.State {
	n, err := strconv.ParseUint(v, 10, 8)
	if err != nil || n > uint64(abi.StateReconfigured) {
		return abi.StateUnknown
	}
	return abi.State(n)
}

// checkBackend refuses a path that can't be a backend's.
func checkBackend(path string) error {
	if len(path) > maxPath || !strings.HasPrefix(path, "/") || strings.IndexByte(path, 0) >= 0 {
		return fmt.Errorf("backend directory %.64q", path)
	}
	return nil
}
