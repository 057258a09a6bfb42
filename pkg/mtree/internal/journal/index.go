package journal

// Index has the lines of the last batches, by directory.
type Index struct{}
