package pages

import "sync"

// Live knows the pages that are being sent to clients: a request that reads the same
// listing again sends the same page.
type Live struct {
	mu   sync.Mutex
	live map[Key]*alive
}

// alive is the newest page of its key that is being sent to clients.
type alive struct {
	page    *Page
	clients int
}

// NewLive returns a Live that knows no page.
func NewLive() *Live { return &Live{live: map[Key]*alive{}} }

// Same returns the page being sent that holds the same as p, else p.
func (s *Live) Same(p *Page) *Page {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.live[p.Key]; a != nil && p.Sum != "" && a.page.Sum == p.Sum {
		if was := a.page; was.Tag == p.Tag && was.Stamp == p.Stamp && was.Hot == p.Hot {
			return was
		}
	}
	return p
}

// Begin records that p is being sent to a client, until End.
func (s *Live) Begin(p *Page) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.live[p.Key]
	if a == nil || a.page != p {
		a = &alive{page: p}
		s.live[p.Key] = a
	}
	a.clients++
}

// End records that p was sent to a client, or that the client has gone.
func (s *Live) End(p *Page) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.live[p.Key]
	if a == nil || a.page != p {
		return // a newer page has its place
	}
	if a.clients--; a.clients == 0 {
		delete(s.live, p.Key)
	}
}
