#compdef mhsync
# SPDX-License-Identifier: LGPL-2.1-or-later
# Completion of mhsync(1) for zsh.

_mhsync_folders() {
  local root
  local -a folders
  root=$(mhpath + 2> /dev/null || /usr/bin/mh/mhpath + 2> /dev/null) || return
  folders=(${(f)"$(cd $root && find . -mindepth 1 -name '.*' -prune -o -type d -print 2> /dev/null)"})
  compadd -- ${folders/#.\//+}
  _files -/
}

_mhsync() {
  local each command
  local -a specs
  for each in ${words[2,CURRENT-1]}; do
    case $each in (status|check|reindex|pack|dedup|import-uids) command=$each ;; esac
  done
  specs=(
    '--root[the mail tree]:directory:_files -/'
    '--user[work as this user]:user:_users'
    '(-n --dry-run)'{-n,--dry-run}'[tell what would be done, change nothing]'
    '--json[one JSON object a line]'
    '(-q --quiet -v --verbose)'{-q,--quiet}'[only errors and what is wrong]'
    '(-q --quiet -v --verbose)'{-v,--verbose}'[tell more]'
    '--lock-timeout[seconds to wait for a folder in use]:seconds:'
    '(- *)'{-h,--help}'[tell how it is called]'
    '(- *)--version[tell its version]'
  )
  if [[ -z $command ]]; then
    specs+=('*:command:((
      status\:"what is there" check\:"what is wrong, each with its cure"
      reindex\:"UIDs and X-MH-UID lines for what has none"
      pack\:"renumber messages 1, 2, 3 ..."
      dedup\:"keep one of messages that are there more than once"
      import-uids\:"take over the UIDs of another IMAP server"))')
  else
    specs+=('(-a --all)'{-a,--all}'[every folder of the tree]' '*:folder:_mhsync_folders')
  fi
  case $command in
    check) specs+=('--fix[cure what can be cured without any danger]') ;;
    reindex)
      specs+=(
        '--thorough[read every message and compare it]'
        '(--tag --restored)--remove-tags[take all X-MH-UID lines away]'
        '(--remove-tags)--tag[write X-MH-UID lines again]'
        '(--remove-tags)--restored[the file system was put back to an older state]'
        '(--remove-tags)--order[new UIDs in the order of numbers]:order:(folder)'
      ) ;;
    dedup)
      specs+=(
        '--by[what makes a copy]:what:(message-id content exact)'
        '--across[look for copies in all folders together]'
        '--keep[which one is kept]:which:(oldest newest first-folder)'
        '(--rmm --delete --share)--to[where copies are moved to]:folder:_mhsync_folders'
        '(--to --delete --share)--rmm[remove copies as rmm does]'
        '(--to --rmm --share)--delete[remove copies for good]'
        '(--to --rmm --delete)--share[keep all, share their bytes on disk]'
      ) ;;
    import-uids)
      specs+=(
        '--from[which server]:server:(asimap mailutils)'
        '--database[the database of asimap]:file:_files'
        '--trust-numbers[no message was renumbered since]'
      ) ;;
  esac
  _arguments -s $specs
}

_mhsync "$@"
