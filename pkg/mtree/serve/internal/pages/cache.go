package pages

import (
	"container/list"
	"sync"
	"sync/atomic"
	"time"

	"tidemark/pkg/mtree/serve/internal/render"
)

// Cache keeps the pages used last, up to a number of bytes.
type Cache struct {
	most  int64         // bytes; below 0: keep nothing
	count *atomic.Int64 // bytes kept now

	mu    sync.Mutex
	bytes int64
	pages map[Key]*list.Element // of *cached
	order *list.List            // the one used last in front
}

// cached is one page in the cache.
type cached struct {
	key  Key
	time Time
	page *Page
	made time.Time
}

// keepFor is how long a page is kept. What changes an entry and not its directory, such as a write
// through mmap or another hard link, moves no stamp until watch finds it: mirrors that list a directory anew from
// time to time, for the sake of such changes, must not get what was read long ago.
const keepFor = time.Hour

// overhead is what a page costs beside its bytes: map, list, keys.
const overhead = 400 // bytes

// NewCache returns a cache of at most this many bytes; below 0 it keeps nothing. It stores
// its size in count.
func NewCache(most int64, count *atomic.Int64) *Cache {
	return &Cache{most: most, count: count, pages: map[Key]*list.Element{}, order: list.New()}
}

// Get returns the page, nil if there is none for these times, or it is too old.
func (c *Cache) Get(key Key, at Time) *Page {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.pages[key]
	if e == nil {
		return nil
	}
	have := e.Value.(*cached)
	if have.time != at || time.Since(have.made) > keepFor { // guard (without time.Since): TestAPageIsKeptForAnHour
		c.drop(e)
		return nil
	}
	c.order.MoveToFront(e)
	return have.page
}

// Put keeps a page and drops the pages used longest ago. A page of more than a quarter of
// the cache is not kept: it would push out all others.
func (c *Cache) Put(key Key, at Time, p *Page) {
	key.Path = p.Key.Path // the one given may be a piece of a request's header
	size := p.cost(key)
	if size > c.most/4 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.pages[key]; e != nil {
		c.drop(e)
	}
	c.pages[key] = c.order.PushFront(&cached{key, at, p, time.Now()})
	c.bytes += size
	for c.bytes > c.most {
		c.drop(c.order.Back())
	}
	c.count.Store(c.bytes)
}

// Forget drops all pages of the directory at path.
func (c *Cache) Forget(path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, format := range []render.Format{render.Text, render.JSON, render.HTML} {
		for _, coding := range []render.Coding{render.Identity, render.Gzip} {
			if e := c.pages[Key{path, format, coding}]; e != nil {
				c.drop(e)
			}
		}
	}
}

// drop removes a page. The caller holds c.mu.
func (c *Cache) drop(e *list.Element) {
	old := c.order.Remove(e).(*cached)
	delete(c.pages, old.key)
	c.bytes -= old.page.cost(old.key)
	c.count.Store(c.bytes)
}

// cost returns the bytes that a page takes in the cache.
func (p *Page) cost(key Key) int64 {
	return p.Size + int64(len(p.Tag)+len(key.Path)+overhead)
}
