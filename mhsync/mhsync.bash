# SPDX-License-Identifier: LGPL-2.1-or-later
# Completion of mhsync(1) for bash.

_mhsync_folders() {
  local root
  root=$(mhpath + 2> /dev/null || /usr/bin/mh/mhpath + 2> /dev/null) || return
  (cd "$root" && find . -mindepth 1 -name '.*' -prune -o -type d -print) 2> /dev/null | sed 's#^\./#+#'
}

_mhsync() {
  local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command= each
  local options='--root --user --dry-run --json --quiet --verbose --lock-timeout --help --version'
  for each in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case $each in status | check | reindex | pack | dedup | import-uids) command=$each ;; esac
  done
  case $previous in
    --root) mapfile -t COMPREPLY < <(compgen -d -- "$word"); return ;;
    --user) mapfile -t COMPREPLY < <(compgen -u -- "$word"); return ;;
    --lock-timeout) return ;;
    --by) mapfile -t COMPREPLY < <(compgen -W 'message-id content exact' -- "$word"); return ;;
    --keep) mapfile -t COMPREPLY < <(compgen -W 'oldest newest first-folder' -- "$word"); return ;;
    --to) mapfile -t COMPREPLY < <(compgen -W "$(_mhsync_folders)" -- "$word"); return ;;
    --order) mapfile -t COMPREPLY < <(compgen -W 'folder' -- "$word"); return ;;
    --from) mapfile -t COMPREPLY < <(compgen -W 'asimap mailutils' -- "$word"); return ;;
    --database) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
  esac
  case $command in
    status | pack) options+=' --all' ;;
    check) options+=' --all --fix' ;;
    import-uids) options+=' --all --from --database --trust-numbers' ;;
    reindex) options+=' --all --thorough --remove-tags --tag --restored --order' ;;
    dedup) options+=' --all --by --across --keep --to --rmm --delete --share' ;;
  esac
  case $word in
    -*) mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word") ;;
    *)
      if [ -z "$command" ]; then
        mapfile -t COMPREPLY < <(compgen -W 'status check reindex pack dedup import-uids' -- "$word")
      else
        mapfile -t COMPREPLY < <(compgen -W "$(_mhsync_folders)" -- "$word")
      fi
      ;;
  esac
}

complete -o default -F _mhsync mhsync
