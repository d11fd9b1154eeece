"""Every choice of a run, and how the program makes those the user leaves open.

fields        what a recipe holds, and the facts of a data set that it depends on
parts         one choice each: what was asked for, or what suits the data
contradictions  what a recipe cannot grant
choosing      from wishes and facts to a recipe
from_scratch  the compact network's recipes for small pictures: fast, accurate
tutorials     the tutorials' recipes
as_it_came    the recipe of a pretrained network that is not trained
"""

from whatsit.recipe.as_it_came import for_pretrained
from whatsit.recipe.choosing import choose
from whatsit.recipe.contradictions import refuse_contradictions
from whatsit.recipe.fields import (
    COMPACT,
    FROM_SCRATCH,
    OWN,
    SMALL,
    TUTORIAL_CNN,
    Facts,
    Recipe,
    facts_of,
    with_epochs,
    with_rate,
)

__all__ = [
    "COMPACT",
    "FROM_SCRATCH",
    "OWN",
    "SMALL",
    "TUTORIAL_CNN",
    "Facts",
    "Recipe",
    "choose",
    "facts_of",
    "for_pretrained",
    "refuse_contradictions",
    "with_epochs",
    "with_rate",
]
