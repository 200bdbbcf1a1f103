package filestore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcpoauth/mcpoauth/store"
	"github.com/mcpoauth/mcpoauth/store/filestore"
	"github.com/mcpoauth/mcpoauth/store/storetest"
)

const dirEnv = "FILESTORE_TEST_DIR"

func TestMain(m *testing.M) {
	storetest.Child(func() (store.Store, error) { return filestore.New(os.Getenv(dirEnv)) })
	if dir := os.Getenv(writerEnv); dir != "" {
		writeForEver(dir)
	}
	os.Exit(m.Run())
}

// writerEnv makes this test binary a program that saves logins of many servers until it is killed, and prints what
// it has saved.
const writerEnv = "FILESTORE_TEST_WRITER"

func serverKey(i int) store.Key {
	return store.Key{Kind: store.KindLogin, ID: "https://mcp.example/" + strconv.Itoa(i)}
}

func writeForEver(dir string) {
	s, err := filestore.New(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for n := 0; ; n++ {
		for i := range servers {
			// Others save the same ones: who loses reads again, as a client does.
			_, rev, err := s.Load(ctx, serverKey(i))
			if err == nil || errors.Is(err, store.ErrNotFound) {
				value := fmt.Sprintf("%d-%d", os.Getpid(), n)
				_, err = s.Save(ctx, serverKey(i), []byte(value+strings.Repeat(" "+value, 500)), rev)
			}
			if err == nil {
				fmt.Println(i)
			} else if !errors.Is(err, store.ErrConflict) {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
	}
}

const servers = 20

// Programs save the tokens of many servers at once and are killed while they do. Each record is whole, and none
// goes back behind what was saved.
func TestProgramsAreKilledWhileTheySave(t *testing.T) {
	t.Parallel()
	s, dir := open(t)
	for range 5 {
		var before [servers]store.Revision
		for i := range servers {
			_, rev, err := s.Load(ctx, serverKey(i))
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				t.Fatal(err)
			}
			before[i] = rev
		}
		var done sync.WaitGroup
		for range 4 {
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), writerEnv+"="+dir)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			done.Go(func() {
				// Killed after so many saves, wherever it is then.
				lines := bufio.NewScanner(out)
				for range servers + 3 {
					if !lines.Scan() {
						t.Error("the program ended by itself")
						break
					}
				}
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
			})
		}
		done.Wait()
		for i := range servers {
			data, rev, err := s.Load(ctx, serverKey(i))
			if err != nil {
				t.Errorf("server %d: %v", i, err)
				continue
			}
			value, rest, _ := strings.Cut(string(data), " ")
			if rest != strings.Repeat(" "+value, 500)[1:] || rev <= before[i] {
				t.Errorf("server %d: %d bytes of %s, revision %d after %d", i, len(data), value, rev, before[i])
			}
		}
	}
	// What a killed program left behind is in nobody's way, and the next saves remove it.
	for i := range servers {
		_, rev, err := s.Load(ctx, serverKey(i))
		if err == nil {
			_, err = s.Save(ctx, serverKey(i), []byte("after"), rev)
		}
		if err != nil {
			t.Error(err)
		}
	}
	if left, err := os.ReadDir(filepath.Join(dir, "tmp")); err != nil || len(left) != 0 {
		t.Errorf("temporary files are left: %v, %v", left, err)
	}
}

func open(t *testing.T) (*filestore.Store, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "logins")
	s, err := filestore.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s, dir
}

func TestContract(t *testing.T) {
	s, dir := open(t)
	storetest.Run(t, func() (store.Store, error) { return s, nil })
	leftovers(t, dir)
}

func TestContractAcrossProcesses(t *testing.T) {
	s, dir := open(t)
	storetest.RunProcesses(t, func() (store.Store, error) { return s, nil }, dirEnv+"="+dir)
	leftovers(t, dir)
}

// leftovers looks for temporary files and for modes that are too wide.
func leftovers(t *testing.T, dir string) {
	t.Helper()
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		want := os.FileMode(0o600)
		if info.IsDir() {
			want = 0o700
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v", path, info.Mode().Perm())
		}
		if strings.HasPrefix(info.Name(), ".") {
			t.Errorf("%s was left behind", path)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

var (
	ctx = context.Background()
	key = store.Key{Kind: store.KindLogin, ID: "https://mcp.example.com/mcp"}
)

func save(t *testing.T, s store.Store, data string) (store.Revision, string) {
	t.Helper()
	rev, err := s.Save(ctx, key, []byte(data), 0)
	if err != nil {
		t.Fatal(err)
	}
	dir := s.(*filestore.Store).Dir()
	files, err := filepath.Glob(filepath.Join(dir, "https_mcp.example.com-*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files %v, %v", files, err)
	}
	return rev, files[0]
}

func TestADamagedFileCostsNoOtherLogin(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"empty": "", "half": `{"format":1,"kind":"login","id":"https://mcp.ex`, "zeros": strings.Repeat("\x00", 300), "brace": `{}}`, "other types": `{"format":"x","revision":[]}`,
	} {
		t.Run(name, func(t *testing.T) {
			s, dir := open(t)
			_, path := save(t, s, `{"a":1}`)
			other := store.Key{Kind: store.KindLogin, ID: "https://other.example"}
			if _, err := s.Save(ctx, other, []byte("fine"), 0); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			var damaged *store.CorruptError
			if _, _, err := s.Load(ctx, key); !errors.As(err, &damaged) || damaged.Path != path || errors.Is(err, store.ErrNotFound) {
				t.Fatalf("got %v", err)
			}
			if _, err := s.Save(ctx, key, []byte("new"), 0); err != nil {
				t.Fatal(err)
			}
			aside, _ := filepath.Glob(filepath.Join(dir, "*.corrupt-*"))
			if len(aside) != 1 {
				t.Fatalf("set aside: %v", aside)
			}
			if b, err := os.ReadFile(aside[0]); err != nil || string(b) != content {
				t.Errorf("what was set aside has changed: %q, %v", b, err)
			}
			if b, _, err := s.Load(ctx, other); err != nil || string(b) != "fine" {
				t.Errorf("the other record: %q, %v", b, err)
			}
		})
	}
}

func TestANewerFormatIsRefusedAndNotDamaged(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	_, path := save(t, s, `{"a":1}`)
	const newer = `{"format":99,"members":"unknown"}`
	if err := os.WriteFile(path, []byte(newer), 0o600); err != nil {
		t.Fatal(err)
	}
	var version *store.VersionError
	if _, _, err := s.Load(ctx, key); !errors.As(err, &version) {
		t.Errorf("load: %v", err)
	}
	if _, err := s.Save(ctx, key, []byte("x"), 0); !errors.As(err, &version) {
		t.Errorf("save: %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != newer {
		t.Errorf("it has changed: %q, %v", b, err)
	}
}

func TestLinksPipesAndDirectoriesInPlaceOfARecord(t *testing.T) {
	t.Parallel()
	target := filepath.Join(t.TempDir(), "target")
	if err := os.WriteFile(target, []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, put := range map[string]func(path string) error{
		"link":      func(path string) error { return os.Symlink(target, path) },
		"directory": func(path string) error { return os.Mkdir(path, 0o700) },
		"pipe":      mkfifo,
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := open(t)
			_, path := save(t, s, "x")
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := put(path); err != nil {
				t.Skip(err)
			}
			limited, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			if _, _, err := s.Load(limited, key); err == nil || errors.Is(err, store.ErrNotFound) || limited.Err() != nil {
				t.Errorf("load: %v", err)
			}
			if b, err := os.ReadFile(target); err != nil || string(b) != "theirs" {
				t.Errorf("the link's target: %q, %v", b, err)
			}
		})
	}
}

func TestADirectoryThatIsALinkIsRefused(t *testing.T) {
	t.Parallel()
	target := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(target, link); err != nil {
		t.Skip(err)
	}
	s, err := filestore.New(link)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Save(ctx, key, []byte("x"), 0); err == nil || !strings.Contains(err.Error(), "symbolic link") {
		t.Errorf("got %v", err)
	}
}

func TestRecordsThatOthersCanRead(t *testing.T) {
	t.Parallel()
	s, dir := open(t)
	_, path := save(t, s, "x")
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Load(ctx, key); err != nil {
		t.Fatal(err)
	}
	leftovers(t, dir)
}

// A lock file that somebody removes while it is held must not lead to a lost update.
func TestALockFileThatIsRemoved(t *testing.T) {
	t.Parallel()
	s, dir := open(t)
	rev, _ := save(t, s, "0")
	_, unlock, err := s.Lock(ctx, key, "refresh")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "locks")); err != nil {
		t.Fatal(err)
	}
	_, second, err := s.Lock(ctx, key, "refresh")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Save(ctx, key, []byte("1"), rev); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Save(ctx, key, []byte("1"), rev); !errors.Is(err, store.ErrConflict) {
		t.Errorf("the second holder's save: %v", err)
	}
	if err := errors.Join(unlock(), second()); err != nil {
		t.Error(err)
	}
}

func TestClearAllLeavesForeignFiles(t *testing.T) {
	t.Parallel()
	s, dir := open(t)
	_, path := save(t, s, "x")
	foreign := filepath.Join(dir, "notes.json")
	alike := filepath.Join(dir, "notes-"+strings.Repeat("x", 64)+".json")
	for p, content := range map[string]string{foreign: "mine", alike: "mine", path + ".corrupt-20200101": "old", strings.Replace(path, "https_mcp", "broken", 1): "{"} {
		if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.ClearAll(ctx); err != nil {
		t.Fatal(err)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "*.json*"))
	if len(left) != 2 || left[0] != alike || left[1] != foreign {
		t.Errorf("left: %v", left)
	}
}

func TestClearTakesOneServer(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	save(t, s, "x")
	work, other := key, key
	work.Profile = "work"
	other.ID = "https://mcp.example.com/mcp2"
	for _, k := range []store.Key{work, other} {
		if _, err := s.Save(ctx, k, []byte("x"), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Clear(ctx, key.ID); err != nil {
		t.Fatal(err)
	}
	var left []store.Key
	for k, err := range s.List(ctx, store.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, k)
	}
	if len(left) != 1 || left[0] != other {
		t.Errorf("left: %v", left)
	}
}

func TestDefaultDir(t *testing.T) {
	home := t.TempDir()
	for _, tc := range []struct {
		env        map[string]string
		want, fail string
	}{
		{map[string]string{"HOME": home}, filepath.Join(home, ".local/state/mcpoauth"), ""},
		{map[string]string{"HOME": home, "XDG_STATE_HOME": "/x"}, "/x/mcpoauth", ""},
		{map[string]string{"HOME": home, "XDG_STATE_HOME": "x"}, "", "XDG_STATE_HOME"},
		{map[string]string{"HOME": home, "MCPOAUTH_DIR": "/d"}, "/d", ""},
		{map[string]string{"HOME": "~"}, "", "HOME"},
		{map[string]string{}, "", "HOME"},
	} {
		for _, k := range []string{"HOME", "XDG_STATE_HOME", "MCPOAUTH_DIR"} {
			t.Setenv(k, tc.env[k])
		}
		got, err := filestore.DefaultDir()
		if tc.fail == "" && (err != nil || got != tc.want) || tc.fail != "" && (err == nil || !strings.Contains(err.Error(), tc.fail)) {
			t.Errorf("%v: %q, %v", tc.env, got, err)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(`{"format":1,"kind":"login","id":"https://mcp.example.com/mcp","profile":"","revision":"5","data":{}}`))
	f.Add([]byte(`{"format":2}`))
	f.Add([]byte("\xef\xbb\xbf{}"))
	s, err := filestore.New(filepath.Join(f.TempDir(), "logins"))
	if err != nil {
		f.Fatal(err)
	}
	if _, err := s.Save(ctx, key, []byte("x"), 0); err != nil {
		f.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(s.Dir(), "*.json"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(files[0], b, 0o600); err != nil {
			t.Fatal(err)
		}
		data, rev, err := s.Load(ctx, key)
		if err == nil && rev == 0 {
			t.Errorf("loaded %q at revision 0", data)
		}
		if errors.Is(err, store.ErrNotFound) {
			t.Error("a damaged record was taken for none")
		}
	})
}
