// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

struct setting_parser_info;
extern const struct setting_parser_info mh_setting_parser_info;
