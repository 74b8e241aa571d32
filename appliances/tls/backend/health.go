package backend

import (
	"context"
	"sync"
	"time"
)

// Run checks the backends until ctx is done.
func (p *Pool) Run(ctx context.Context) {
	var all sync.WaitGroup
	for i, s := range p.all {
		all.Go(func() {
			// Spread over the interval, so that not all are asked at once.
			first := p.cfg.Health.Every * time.Duration(i+1) / time.Duration(len(p.all))
			for wait := first; ; wait = p.cfg.Health.Every {
				t := time.NewTimer(wait)
				select {
				case <-t.C:
				case <-ctx.Done():
					t.Stop()
					return
				}
				if err := p.check(ctx, s.Address); ctx.Err() == nil {
					if err != nil {
						p.count(&s.failedChecks)
					}
					p.judge(s, err)
				}
			}
		})
	}
	all.Wait()
}

// check connects once.
func (p *Pool) check(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Health.Timeout)
	defer cancel()
	c, err := p.dial(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	if len(p.hello) > 0 {
		c.SetWriteDeadline(time.Now().Add(p.cfg.Health.Timeout))
		_, err = c.Write(p.hello)
	}
	return err
}

// judge takes the result of a check, or of an attempt that failed.
func (p *Pool) judge(s *server, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if (err != nil) == s.ill {
		s.streak = 0
		return
	}
	s.streak++
	if limit := p.cfg.Health.Fall; !s.ill && s.streak >= limit {
		s.ill, s.streak = true, 0
		p.log.Warn("backend is ill", "backend", s.Address, "error", err)
	} else if limit := p.cfg.Health.Rise; s.ill && s.streak >= limit {
		s.ill, s.streak = false, 0
		p.log.Info("backend is well", "backend", s.Address)
		p.changed()
	}
}
