package serve

import "sync/atomic"

// Stats counts what a Handler does. Its fields may be read at any time.
type Stats struct {
	Requests         atomic.Int64 // all that came in
	Fast             atomic.Int64 // of these: those that package fastpath read and answered
	Listings         atomic.Int64 // directories read from disk
	Parts            atomic.Int64 // parts of directories made in place of listings
	Cached           atomic.Int64 // listings answered from memory
	NotModified      atomic.Int64 // 304 answers
	Files            atomic.Int64 // files sent, whole or in part
	FileBytes        atomic.Int64 // bytes of files sent
	Bulk             atomic.Int64 // files sent within tar streams
	Sums             atomic.Int64 // files hashed
	Refused          atomic.Int64 // 4xx answers
	Failed           atomic.Int64 // 5xx answers
	Aborted          atomic.Int64 // connections cut because what was sent changed or could not be read
	Waiting          atomic.Int64 // requests waiting for a change now
	CacheBytes       atomic.Int64 // bytes in the listing cache now
	OtherFileSystems atomic.Int64 // directories and files passed over because they are on other file systems
}

// Each calls yield with the name, the meaning and the value of every counter.
func (s *Stats) Each(yield func(name, help string, value int64)) {
	yield("requests_total", "Requests that came in.", s.Requests.Load())
	yield("requests_fast_total", "Requests that took the short way of --http fast.", s.Fast.Load())
	yield("listings_total", "Directories read from disk.", s.Listings.Load())
	yield("parts_total", "Parts of directories made in place of their listings.", s.Parts.Load())
	yield("listings_cached_total", "Listings answered from memory.", s.Cached.Load())
	yield("not_modified_total", "Requests answered 304.", s.NotModified.Load())
	yield("files_total", "Files sent, whole or in part.", s.Files.Load())
	yield("file_bytes_total", "Bytes of files sent.", s.FileBytes.Load())
	yield("bulk_files_total", "Files sent within tar streams.", s.Bulk.Load())
	yield("sums_total", "Files hashed.", s.Sums.Load())
	yield("refused_total", "Requests answered 4xx.", s.Refused.Load())
	yield("failed_total", "Requests answered 5xx.", s.Failed.Load())
	yield("aborted_total", "Connections cut in the middle of an answer.", s.Aborted.Load())
	yield("waiting", "Requests that wait for a change now.", s.Waiting.Load())
	yield("foreign", "Directories and files passed over because they are on other file systems.", s.OtherFileSystems.Load())
	yield("cache_bytes", "Bytes in the listing cache now.", s.CacheBytes.Load())
}
