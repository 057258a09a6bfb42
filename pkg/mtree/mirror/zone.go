package mirror

import (
	"context"
	"net/http"
	"sync"
	"time"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/wire"
)

// zones is by how much the times that another server lists are ahead of UTC, by
// the months they are in, for there is summer time. Listings do not tell, but the
// dates of files do. Without it a file that is written every hour, always of one
// size, would pass for an old one listed in another zone. The zero value knows
// nothing; it may be used by several goroutines at once.
type zones struct {
	mu     sync.Mutex
	months map[string]zone
}

type zone struct {
	ahead time.Duration
	known bool
	tries int // files that were asked for their date
}

// zoneTries is how many files of a month are asked for their date, where they
// have none.
const zoneTries = 3

func month(listed mtree.Stamp) string { return listed.Time().UTC().Format("2006-01") }

// allow reports whether a file that is listed so far ahead of the copy's may be
// the same. Where nothing is known it may.
func (z *zones) allow(listed mtree.Stamp, ahead time.Duration) bool {
	if z == nil {
		return true
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	m := z.months[month(listed)]
	return !m.known || m.ahead == ahead
}

// utc returns the time of a file that has no date of its own.
func (g *vague) utc() mtree.Stamp {
	if !g.local {
		return g.listed
	}
	g.zones.mu.Lock()
	defer g.zones.mu.Unlock()
	return g.listed.Add(-g.zones.months[month(g.listed)].ahead)
}

// learn notes the date of a file that is listed with g; the first one of a month
// counts.
func (z *zones) learn(g *vague, date mtree.Stamp) {
	ahead := g.off(g.listed, date)
	if !g.local || ahead%zoneStep != 0 || ahead.Abs() > zoneMost {
		return
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	if m := z.months[month(g.listed)]; !m.known {
		z.note(g.listed, zone{ahead: ahead, known: true})
	}
}

func (z *zones) note(listed mtree.Stamp, m zone) {
	if z.months == nil {
		z.months = map[string]zone{}
	}
	z.months[month(listed)] = m
}

// ask reports whether a file should be asked for its date, and counts that.
func (z *zones) ask(listed mtree.Stamp) bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	m := z.months[month(listed)]
	if m.known || m.tries == zoneTries {
		return false
	}
	m.tries++
	z.note(listed, m)
	return true
}

// learnZones asks for the dates of some files of a listing that may be those of
// the copy if the server lists them in its own zone. Cost: a HEAD for each month,
// once for each run; none where times agree.
func (s *httpSource) learnZones(ctx context.Context, dir string, l *mtree.Listing, known map[string]vague, have []mtree.Entry) {
	eachVague(l, known, have, func(e *mtree.Entry, g vague, h *mtree.Entry) {
		if !g.local || g.off(e.MTime, h.MTime) == 0 || !g.fits(e.MTime, h.MTime, h.Size) || !s.zones.ask(e.MTime) {
			return
		}
		resp, err := s.do(ctx, request{method: http.MethodHead, path: wire.URLPath(mtree.JoinPath(dir, e.Name)), plain: true})
		if err != nil {
			return
		}
		_ = resp.Body.Close()
		if date, err := http.ParseTime(resp.Header.Get("Last-Modified")); err == nil {
			s.zones.learn(&g, mtree.FromTime(date))
		}
	})
}
