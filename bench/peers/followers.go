package peers

import (
	"fmt"

	"tidemark/bench/rig"
)

// Follower keeps a copy equal to a tree, by itself.
type Follower struct {
	Name  string
	Needs []string // programs
	// Start starts it. The directories are there. What runs is returned even if there is an error.
	Start func(work, source, copy string) (Programs, error)
}

// Followers returns all of them. busy says that there will be many changes a second: unison must then not compare
// times only, because it knows them by the second, and would miss some for good.
func Followers(busy bool) []Follower {
	return []Follower{
		{"tidemark", nil, startTidemark},
		{"lsyncd", []string{"lsyncd", "rsync"}, startLsyncd},
		{"syncthing", []string{"syncthing"}, startSyncthing},
		{unisonName(), []string{"unison"}, func(work, source, copy string) (Programs, error) { return startUnison(work, source, copy, busy) }},
		{"inotifywait + rsync", []string{"inotifywait", "rsync"}, startScript},
		{"rsync in a loop", []string{"rsync"}, startLoop},
	}
}

func startTidemark(work, source, copy string) (p Programs, err error) {
	address, err := rig.FreeAddress()
	if err != nil {
		return p, err
	}
	for _, c := range []struct {
		ready   string
		command []string
	}{
		{"armed", []string{"bin/watch", source}},
		{"address=", []string{"bin/serve", "--hidden", "--listen", address, source}},
		{"listed [0-9]+ dir", []string{"bin/mirror", "http://" + address + "/", copy}},
	} {
		if _, err := p.start(work, c.ready, c.command...); err != nil {
			return p, err
		}
	}
	return p, nil
}

// startSyncthing gathers changes for a second, the least that Debian's takes; its default is ten.
func startSyncthing(work, source, copy string) (Programs, error) {
	s := &syncthing{work: work, source: source, delay: "1"}
	if err := s.startSender(copy); err != nil {
		return s.running, err
	}
	if err := s.configure(s.receiver, copy, "receiveonly", ".stfolder"); err != nil {
		return s.running, err
	}
	receiver, err := s.startReceiver(copy)
	return append(s.running, receiver...), err
}

// Debian's unison comes without the program by which it hears of changes. Then it looks each second.
func unisonName() string {
	if Missing("unison-fsmonitor") == "" {
		return "unison -repeat watch"
	}
	return "unison -repeat 1"
}

func startUnison(work, source, copy string, busy bool) (p Programs, err error) {
	how := "1"
	if Missing("unison-fsmonitor") == "" {
		how = "watch"
	}
	_, err = p.start(work, "", unison(source, copy, "-batch", "-repeat", how, "-fastcheck", fmt.Sprint(!busy))...)
	return p, err
}

// rsyncLocal is the command of the two scripts below.
const rsyncLocal = "rsync -a --delete --modify-window=-1 --exclude=/.tidemark"

// startScript is what people have written since 2009: one rsync for each event.
func startScript(work, source, copy string) (p Programs, err error) {
	_, err = p.start(work, "Watches established", "sh", "-c", fmt.Sprintf("%[1]s %[2]s/ %[3]s/; "+
		"inotifywait -mr -e create,move,delete,modify,close_write,attrib %[2]s | while read -r d e f; do %[1]s %[2]s/ %[3]s/; done", rsyncLocal, source, copy))
	return p, err
}

// startLoop asks for changes again and again.
func startLoop(work, source, copy string) (p Programs, err error) {
	_, err = p.start(work, "", "sh", "-c", fmt.Sprintf("while :; do %s %s/ %s/; done", rsyncLocal, source, copy))
	return p, err
}
