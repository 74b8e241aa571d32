package probe

import "testing"

func TestConsistent(t *testing.T) {
	const all = netChecksum | netGuestChecksum | netGuestTSO | netHostTSO | netMergeable | featureVersion1
	for _, c := range []struct {
		kind      uint32
		got, want uint64
	}{
		{1, all, all},
		{1, all &^ netChecksum, all &^ (netChecksum | netHostTSO)},
		{1, all &^ netGuestChecksum, all &^ (netGuestChecksum | netGuestTSO)},
		{1, all &^ netMergeable, all &^ (netMergeable | netGuestTSO)},
		{4, all &^ netMergeable, all &^ netMergeable}, // another kind's bits mean other things
	} {
		if f := consistent(c.kind, c.got); f != c.want {
			t.Errorf("kind %d, features %#x: %#x, want %#x", c.kind, c.got, f, c.want)
		}
	}
}
