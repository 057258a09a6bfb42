package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"tidemark/bench/rig"
)

// manyFiles measures one directory of 1,000,000 entries, and the search for the
// newest of 1,000,000 files in 10,101 directories.
func manyFiles(tree, work string) error {
	flat, deep := filepath.Join(tree, "flat"), filepath.Join(tree, "deep")
	if err := os.MkdirAll(flat, 0o755); err != nil {
		return err
	}
	var makers sync.WaitGroup
	for part := range 4 {
		makers.Go(func() {
			for i := part; i < 1_000_000; i += 4 {
				f, err := os.Create(fmt.Sprintf("%s/file-%07d.txt", flat, i))
				if err == nil {
					_ = f.Close()
				}
			}
		})
	}
	makers.Wait()
	if err := large(flat, work); err != nil {
		return err
	}
	if err := os.RemoveAll(flat); err != nil {
		return err
	}
	leaves, err := rig.Tree(deep, 100, 100, 100, 0)
	if err != nil {
		return err
	}
	return newest(deep, work, leaves)
}

// pair starts watch and serve on a tree.
func pair(tree, work string) (serve *rig.Program, stop func(), err error) {
	watch, err := rig.Start(work, "bin/watch", tree)
	if err != nil {
		return nil, nil, err
	}
	if err := watch.WaitFor("armed"); err != nil {
		watch.Stop()
		return nil, nil, err
	}
	serve, err = rig.Start(work, "bin/serve", "--listen", host(served), tree)
	if err == nil {
		err = serve.WaitFor("address=")
	}
	return serve, func() { serve.Stop(); watch.Stop() }, err
}

func large(tree, work string) error {
	serve, stop, err := pair(tree, work)
	if err != nil {
		return err
	}
	defer stop()
	idle, err := serve.Counts()
	if err != nil {
		return err
	}
	for _, query := range []string{"?txt", "?html", "?json"} {
		begun := time.Now()
		bytes, first, err := fetch(served + "/" + query)
		if err != nil {
			return err
		}
		peak, err := serve.Counts()
		if err != nil {
			return err
		}
		fmt.Printf("1,000,000 entries in one directory, %s: %d MB in %.2f s, first byte after %.2f s, serve's memory %d MB before, %d MB at most so far\n",
			query, bytes/1e6, time.Since(begun).Seconds(), first.Seconds(), idle.Now/1e6, peak.Peak/1e6)
	}
	return nil
}

func fetch(url string) (bytes int64, first time.Duration, err error) {
	begun := time.Now()
	response, err := http.Get(url)
	if err != nil {
		return 0, 0, err
	}
	defer response.Body.Close()
	first = time.Since(begun)
	bytes, err = io.Copy(io.Discard, response.Body)
	return bytes, first, err
}

func newest(tree, work string, leaves []string) error {
	_, stop, err := pair(tree, work)
	if err != nil {
		return err
	}
	defer stop()
	for i := range 40 { // in 40 directories
		if err := os.WriteFile(fmt.Sprintf("%s/f%05d", leaves[i*251%len(leaves)], i), []byte("new"), 0o644); err != nil {
			return err
		}
		<-time.After(30 * time.Millisecond)
	}
	var all []float64
	for range 21 {
		begun := time.Now()
		if _, _, err := fetch(served + "/?txt&recent=20"); err != nil {
			return err
		}
		all = append(all, float64(time.Since(begun).Microseconds())/1000)
	}
	fmt.Printf("?recent=20 among 1,000,000 files in 10,101 directories: median %.1f ms, most %.1f ms\n", rig.Quantile(all, 0.5), all[len(all)-1])
	return nil
}
