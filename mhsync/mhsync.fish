# SPDX-License-Identifier: LGPL-2.1-or-later
# Completion of mhsync(1) for fish.

function __mhsync_folders
    set -l mhpath (type -p mhpath /usr/bin/mh/mhpath)[1]
    test -n "$mhpath"; or return
    set -l root ($mhpath +); or return
    find $root -mindepth 1 -name '.*' -prune -o -type d -printf '+%P\n' 2>/dev/null
end

set -l commands status check reindex pack dedup import-uids
set -l none "not __fish_seen_subcommand_from $commands"
set -l some "__fish_seen_subcommand_from $commands"

complete -c mhsync -f
complete -c mhsync -n $none -a status -d 'What is there'
complete -c mhsync -n $none -a check -d 'What is wrong, each with its cure'
complete -c mhsync -n $none -a reindex -d 'UIDs and X-MH-UID lines for what has none'
complete -c mhsync -n $none -a pack -d 'Renumber messages 1, 2, 3 ...'
complete -c mhsync -n $none -a dedup -d 'Keep one of messages that are there more than once'
complete -c mhsync -n $none -a import-uids -d 'Take over the UIDs of another IMAP server'
complete -c mhsync -n $some -a '(__mhsync_folders)'

complete -c mhsync -l root -x -a '(__fish_complete_directories)' -d 'The mail tree'
complete -c mhsync -l user -x -a '(__fish_complete_users)' -d 'Work as this user'
complete -c mhsync -s n -l dry-run -d 'Tell what would be done, change nothing'
complete -c mhsync -l json -d 'One JSON object a line'
complete -c mhsync -s q -l quiet -d 'Only errors and what is wrong'
complete -c mhsync -s v -l verbose -d 'Tell more'
complete -c mhsync -l lock-timeout -x -d 'Seconds to wait for a folder in use'
complete -c mhsync -s h -l help -d 'Tell how it is called'
complete -c mhsync -l version -d 'Tell its version'
complete -c mhsync -n $some -s a -l all -d 'Every folder of the tree'

complete -c mhsync -n '__fish_seen_subcommand_from check' -l fix -d 'Cure what can be cured without any danger'

set -l reindex "__fish_seen_subcommand_from reindex"
complete -c mhsync -n $reindex -l thorough -d 'Read every message and compare it'
complete -c mhsync -n $reindex -l remove-tags -d 'Take all X-MH-UID lines away'
complete -c mhsync -n $reindex -l tag -d 'Write X-MH-UID lines again'
complete -c mhsync -n $reindex -l restored -d 'The file system was put back to an older state'
complete -c mhsync -n $reindex -l order -x -a folder -d 'New UIDs in the order of numbers'

set -l dedup "__fish_seen_subcommand_from dedup"
complete -c mhsync -n $dedup -l by -x -a 'message-id content exact' -d 'What makes a copy'
complete -c mhsync -n $dedup -l across -d 'Look for copies in all folders together'
complete -c mhsync -n $dedup -l keep -x -a 'oldest newest first-folder' -d 'Which one is kept'
complete -c mhsync -n $dedup -l to -x -a '(__mhsync_folders)' -d 'Where copies are moved to'
complete -c mhsync -n $dedup -l rmm -d 'Remove copies as rmm does'
complete -c mhsync -n $dedup -l delete -d 'Remove copies for good'
complete -c mhsync -n $dedup -l share -d 'Keep all, share their bytes on disk'

set -l import "__fish_seen_subcommand_from import-uids"
complete -c mhsync -n $import -l from -x -a 'asimap mailutils' -d 'Which server'
complete -c mhsync -n $import -l database -r -F -d 'The database of asimap'
complete -c mhsync -n $import -l trust-numbers -d 'No message was renumbered since'
