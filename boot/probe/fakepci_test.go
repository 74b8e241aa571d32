package probe

// placeholder until the PCI fake below
type fakePCI struct{}

func (*fakePCI) load(addr uint64, size int) (uint64, bool)  { return 0, false }
func (*fakePCI) store(addr uint64, size int, v uint64) bool { return false }
func (*fakePCI) in(port uint16, size int) (uint32, bool)    { return 0, false }
func (*fakePCI) out(port uint16, size int, v uint32)        {}
