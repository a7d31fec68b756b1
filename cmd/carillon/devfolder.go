package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	devFolders = "carillon-dev-"
	devLock    = "lock"
)

// devFolder makes the folder for the data of `dev`, and removes those of brokers that were killed and could not do it. remove
// removes it again.
func devFolder() (folder string, remove func(), err error) {
	removeAbandoned(os.TempDir())
	folder, err = os.MkdirTemp("", devFolders)
	if err != nil {
		return "", nil, fmt.Errorf("make a folder for the data: %w", err)
	}
	lock, err := os.Create(filepath.Join(folder, devLock))
	if err == nil {
		_, err = lockFile(lock)
	}
	if err != nil {
		_ = os.RemoveAll(folder)
		return "", nil, fmt.Errorf("lock the folder for the data: %w", err)
	}
	return folder, func() {
		_ = os.RemoveAll(folder)
		_ = lock.Close()
	}, nil
}

// removeAbandoned removes the folders whose lock nobody holds. Young ones are left alone: their owner may be about to lock them.
func removeAbandoned(temp string) {
	folders, err := filepath.Glob(filepath.Join(temp, devFolders+"*"))
	if err != nil {
		return
	}
	for _, folder := range folders {
		info, err := os.Stat(filepath.Join(folder, devLock))
		if err != nil || time.Since(info.ModTime()) < time.Minute {
			continue
		}
		lock, err := os.OpenFile(filepath.Join(folder, devLock), os.O_RDWR, 0)
		if err != nil {
			continue // another user's
		}
		if free, err := lockFile(lock); err == nil && free {
			_ = os.RemoveAll(folder)
		}
		_ = lock.Close()
	}
}
