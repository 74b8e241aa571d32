package certs

// Static is a Source of one generation, that was compiled in.
type Static struct{ generation *Generation }

// NewStatic is the Source of g, which must not be changed any more.
func NewStatic(g *Generation) *Static { return &Static{g} }

// Current implements Source.
func (s *Static) Current() *Generation { return s.generation }

// Watch implements Source: there never is another generation.
func (s *Static) Watch(func(*Generation)) (cancel func()) { return func() {} }
